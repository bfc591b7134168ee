//! The product under test: `lb run` on the lab's balancer, and its command line.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::clock;
use crate::lab::{Host, Lab};

const BOUND: Duration = Duration::from_secs(30);

/// Which data plane, as `[host] data_plane` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    Xdp,
    XdpGeneric,
    Userspace,
}

impl Engine {
    pub const ALL: [Self; 3] = [Self::Xdp, Self::XdpGeneric, Self::Userspace];
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp-generic",
            Self::Userspace => "userspace",
        }
    }
}

/// The binary: `$LB_BIN`, or the one built beside this test.
///
/// # Errors
/// If there is none.
pub fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os("LB_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let own = std::env::current_exe()?;
            let profile = own.ancestors().nth(2).context("a test is in no target directory")?;
            profile.join("lb")
        }
    };
    if !path.is_file() {
        bail!("no {}: build it (cargo build -p lb) or name another in LB_BIN", path.display());
    }
    Ok(path)
}

/// A daemon with directories of its own; when dropped it is killed and what it pinned is removed.
#[derive(Debug)]
pub struct Daemon {
    binary: PathBuf,
    host: Host,
    dir: tempfile::TempDir,
    pin_dir: PathBuf,
    engine: Engine,
    child: Option<Child>,
    head: String,
}

impl Daemon {
    /// Starts `lb run` with `text` after a `[host]` table made here, and waits until it answers.
    ///
    /// # Errors
    /// If it ends at once or does not answer in time, with its log.
    pub fn start(lab: &Lab, engine: Engine, text: &str) -> Result<Self> {
        Self::start_with(lab, engine, "flow_table_size = 200_000", text)
    }

    /// The same, with further lines for the `[host]` table.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_with(lab: &Lab, engine: Engine, host_lines: &str, text: &str) -> Result<Self> {
        let mut daemon = Self::prepare(lab, engine, host_lines)?;
        daemon.write(text)?;
        daemon.run()?;
        Ok(daemon)
    }

    /// Everything but the process.
    ///
    /// # Errors
    /// If the binary is missing or a directory cannot be made.
    pub fn prepare(lab: &Lab, engine: Engine, host_lines: &str) -> Result<Self> {
        if engine == Engine::Userspace {
            lab.services_local_to_balancer()?;
        }
        // Under names that `lab::reap` knows.
        let dir = tempfile::Builder::new().prefix(&format!("lbt-{}-", lab.label())).tempdir()?;
        let name = dir.path().file_name().context("a directory without a name")?;
        let pin_dir = Path::new("/sys/fs/bpf").join(name);
        let at = dir.path().display();
        let head = format!(
            "[host]\ninterfaces = {:?}\ndata_plane = \"{}\"\nstate_dir = \"{at}/state\"\nsocket = \"{at}/lb.sock\"\n\
             pin_dir = \"{}\"\n{host_lines}\n\n",
            lab.interfaces(),
            engine.as_str(),
            pin_dir.display()
        );
        std::fs::create_dir(dir.path().join("state"))?;
        Ok(Self { binary: binary()?, host: lab.balancer().clone(), dir, pin_dir, engine, child: None, head })
    }

    /// Writes the configuration: the `[host]` table made at the start, then `text`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, text: &str) -> Result<()> {
        // As an editor does, so that the daemon never reads half of it.
        let fresh = self.dir.path().join("lb.toml.new");
        std::fs::write(&fresh, format!("{}{text}", self.head))?;
        std::fs::rename(fresh, self.config()).context("cannot replace the configuration")
    }

    /// Starts the process (again) and waits until it answers.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn run(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = Command::new(&self.binary);
        command.arg("run").arg("--config").arg(self.config()).env("LB_LOG", "info").env_remove("LB_SOCKET");
        command.stdout(log.try_clone()?).stderr(log);
        self.child = Some(self.host.spawn(&mut command)?);
        clock::until("lb run answers", BOUND, || {
            if let Some(status) = self.ended()? {
                bail!("lb run ended: {status}");
            }
            self.json(&["status"]).map(Some)
        })
        .with_context(|| format!("its log:\n{}", self.log()))?;
        Ok(())
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.as_mut().map_or(Ok(None), |c| Ok(c.try_wait()?))
    }

    #[must_use]
    pub const fn engine(&self) -> Engine {
        self.engine
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
    pub fn pin_dir(&self) -> &Path {
        &self.pin_dir
    }
    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }
    /// The process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
    /// All it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Runs `lb ARGS` against this daemon.
    ///
    /// # Errors
    /// If it cannot be run; an exit status is no error here.
    pub fn cli(&self, args: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.binary);
        command.args(args).env("LB_SOCKET", self.dir.path().join("lb.sock"));
        self.host.inside(|| command.output())?.with_context(|| format!("cannot run lb {args:?}"))
    }

    /// Runs `lb ARGS`, which must succeed, and gives what it printed.
    ///
    /// # Errors
    /// If it does not exit with 0.
    pub fn ok(&self, args: &[&str]) -> Result<String> {
        let output = self.cli(args)?;
        if !output.status.success() {
            bail!("lb {args:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
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

    /// Waits until every backend is healthy (or, without a check, as usable as it gets).
    ///
    /// # Errors
    /// If it takes more than 30 s.
    pub fn all_healthy(&self) -> Result<()> {
        clock::until("all backends are healthy", BOUND, || {
            let all = self.json(&["backend", "list"])?;
            let ill = all.as_array().context("no array")?.iter().find(|b| b["health"] != "healthy");
            match ill {
                None => Ok(Some(())),
                Some(b) => bail!("{} {} is {}: {}", b["pool"], b["address"], b["health"], b["reason"]),
            }
        })
    }

    /// Kills it as the kernel would for want of memory: no goodbye.
    ///
    /// # Errors
    /// If it was not running.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("lb is not running")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// If it was not running or does not end in time.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait()
    }

    /// # Errors
    /// If it is not running.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().context("lb is not running")?;
        Ok(kill(Pid::from_raw(child.id().cast_signed()), signal)?)
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// If it does not in time.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let status = clock::until("lb run ends", BOUND, || self.ended())?;
        self.child = None;
        Ok(status)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("---- log of lb run\n{}----", self.log());
        }
        let _ = std::fs::remove_dir_all(&self.pin_dir);
    }
}
