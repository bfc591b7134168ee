//! The product at layer 7: `lb run` on loopback with directories of its own, without privilege or namespace.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::{clock, daemon};

const BOUND: Duration = Duration::from_secs(20);

/// Killed when dropped.
#[derive(Debug)]
pub struct Proxy {
    binary: PathBuf,
    dir: tempfile::TempDir,
    head: String,
    child: Option<Child>,
    /// The one before, after a takeover.
    former: Option<Child>,
    /// The one that took over, which no longer is a child of ours.
    heir: Option<Pid>,
}

impl Proxy {
    /// Starts `lb run` with `text` after a `[host]` table made here, and waits until it answers.
    ///
    /// # Errors
    /// If it ends at once or does not answer in time, with its log.
    pub fn start(text: &str) -> Result<Self> {
        Self::start_with("", &[], text)
    }

    /// The same with further lines for `[host]`, and with files beside the configuration.
    ///
    /// # Errors
    /// As [`Proxy::start`].
    pub fn start_with(host: &str, files: &[(&str, &[u8])], text: &str) -> Result<Self> {
        let mut proxy = Self::prepare(host)?;
        for (name, bytes) in files {
            proxy.file(name, bytes)?;
        }
        proxy.write(text)?;
        proxy.run()?;
        Ok(proxy)
    }

    /// Everything but the process.
    ///
    /// # Errors
    /// If the binary is missing or a directory cannot be made.
    pub fn prepare(host: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("lbt-http-").tempdir()?;
        let at = dir.path().display();
        let log =
            if host.contains("access_log ") { String::new() } else { format!("access_log = \"{at}/access.log\"\n") };
        let head = format!(
            "[host]\ndata_plane = \"userspace\"\nstate_dir = \"{at}/state\"\nsocket = \"{at}/lb.sock\"\n{log}{host}\n\n"
        );
        std::fs::create_dir(dir.path().join("state"))?;
        Ok(Self { binary: daemon::binary()?, dir, head, child: None, former: None, heir: None })
    }

    /// Writes a file beside the configuration, as an editor does: whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn file(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.dir.path().join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let fresh = path.with_extension("new~");
        std::fs::write(&fresh, bytes)?;
        std::fs::rename(&fresh, &path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Writes the configuration: the `[host]` table made at the start, then `text`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, text: &str) -> Result<()> {
        self.file("lb.toml", format!("{}{text}", self.head).as_bytes()).map(drop)
    }

    fn spawn(&self, more: &[&str]) -> Result<Child> {
        let log = File::options().create(true).append(true).open(self.dir.path().join("log"))?;
        let mut command = Command::new(&self.binary);
        command.arg("run").arg("--config").arg(self.config()).args(more).env("LB_LOG", "info").env_remove("LB_SOCKET");
        command.stdout(log.try_clone()?).stderr(log);
        command.spawn().context("cannot start lb run")
    }

    /// Starts the process (again) and waits until it answers.
    ///
    /// # Errors
    /// As [`Proxy::start`].
    pub fn run(&mut self) -> Result<()> {
        self.child = Some(self.spawn(&[])?);
        self.answers().with_context(|| format!("its log:\n{}", self.log()))
    }

    fn answers(&mut self) -> Result<()> {
        let start = clock::now();
        loop {
            if let Some(status) = self.child.as_mut().map_or(Ok(None), Child::try_wait)? {
                bail!("lb run ended: {status}");
            }
            match self.json(&["status"]) {
                Ok(_) => return Ok(()),
                Err(e) if start.elapsed() > BOUND => return Err(e.context("lb run does not answer")),
                Err(_) => clock::pass(Duration::from_millis(20)),
            }
        }
    }

    /// Has another process take over from this one; `lb run --takeover` returns when the new one serves. The old one is
    /// waited for by [`Proxy::former_ends`].
    ///
    /// # Errors
    /// If the new one does not come up.
    pub fn take_over(&mut self) -> Result<()> {
        let old = self.pid().context("lb is not running")?;
        let mut command = self.spawn(&["--takeover"])?;
        let status = clock::until("lb run --takeover returns", BOUND, || Ok(command.try_wait()?));
        if status.is_err() {
            let _ = command.kill();
        }
        let status = status?;
        ensure!(status.success(), "lb run --takeover: {status}\n{}", self.log());
        self.former = self.child.take();
        let new = self.heir_of(old)?;
        self.heir = Some(Pid::from_raw(i32::try_from(new)?));
        self.json(&["status"]).map(drop)
    }

    /// The process that runs with our configuration, other than `old`; what took over is no child of ours.
    fn heir_of(&self, old: u32) -> Result<u32> {
        let config = self.config().to_string_lossy().into_owned();
        let ours = |pid: u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|b| *b == 0).any(|word| word == config.as_bytes())
        };
        let all = std::fs::read_dir("/proc")?.filter_map(|e| e.ok()?.file_name().to_str()?.parse::<u32>().ok());
        all.filter(|pid| *pid != old).find(|pid| ours(*pid)).context("no process took over")
    }

    /// Waits for the end of the process that was taken over from.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn former_ends(&mut self, within: Duration) -> Result<ExitStatus> {
        let former = self.former.as_mut().context("nothing was taken over")?;
        clock::until("the old process ends", within, || Ok(former.try_wait()?))
    }

    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("lb.toml")
    }
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let heir = self.heir.map(|p| p.as_raw().cast_unsigned());
        heir.or_else(|| self.child.as_ref().map(Child::id))
    }
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// If the process has gone.
    pub fn memory(&self) -> Result<u64> {
        let pid = self.pid().context("lb is not running")?;
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).context("lb has gone")?;
        let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }

    /// The access log's lines that are there by now.
    ///
    /// # Errors
    /// If a line is no JSON.
    pub fn access(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|l| serde_json::from_str(l).with_context(|| format!("no JSON: {l:?}"))).collect()
    }

    /// Waits for at least that many lines of the access log.
    ///
    /// # Errors
    /// If they are not there within three seconds.
    pub fn access_lines(&self, count: usize) -> Result<Vec<Value>> {
        clock::until(&format!("{count} access lines"), Duration::from_secs(3), || {
            let lines = self.access()?;
            if lines.len() < count {
                bail!("{} lines", lines.len());
            }
            Ok(Some(lines))
        })
    }

    /// Runs `lb ARGS` against this daemon.
    ///
    /// # Errors
    /// If it cannot be run; an exit status is no error here.
    pub fn cli(&self, args: &[&str]) -> Result<Output> {
        self.command(args).output().with_context(|| format!("cannot run lb {args:?}"))
    }

    /// `lb ARGS` against this daemon, to be started.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).env("LB_SOCKET", self.dir.path().join("lb.sock"));
        command
    }

    /// Runs `lb ARGS`, which must succeed, and gives what it printed.
    ///
    /// # Errors
    /// If it does not exit with 0.
    pub fn ok(&self, args: &[&str]) -> Result<String> {
        let output = self.cli(args)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "lb {args:?}: {}\n{}", output.status, said.trim());
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs `lb ARGS --json` and reads the document.
    ///
    /// # Errors
    /// If it fails or prints no JSON.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let text = self.ok(&[args, &["--json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("lb {args:?} --json printed no JSON: {text}"))
    }

    /// Writes a new configuration and has it taken.
    ///
    /// # Errors
    /// If it is refused.
    pub fn reload(&self, text: &str) -> Result<()> {
        self.write(text)?;
        self.ok(&["reload"]).map(drop)
    }

    /// One backend's entry of `lb backend list --json`.
    ///
    /// # Errors
    /// If it is not listed.
    pub fn backend(&self, pool: &str, address: &str) -> Result<Value> {
        let all = self.json(&["backend", "list"])?;
        let mut of = all.as_array().context("no array")?.iter();
        let found = of.find(|b| b["pool"] == pool && b["address"] == address).cloned();
        found.with_context(|| format!("{pool} {address} is not listed"))
    }

    /// # Errors
    /// If it is not running.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().context("lb is not running")?;
        Ok(kill(Pid::from_raw(i32::try_from(pid)?), signal)?)
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// If it does not in time.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let child = self.child.as_mut().context("lb is not running")?;
        let status = clock::until("lb run ends", within, || Ok(child.try_wait()?))?;
        self.child = None;
        Ok(status)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(heir) = self.heir {
            let _ = kill(heir, Signal::SIGKILL);
        }
        for child in [self.child.take(), self.former.take()].iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() || std::env::var_os("LB_SHOW_LOG").is_some() {
            eprintln!("---- log of lb run\n{}----", self.log());
        }
    }
}
