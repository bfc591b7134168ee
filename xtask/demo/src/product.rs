//! `lb` as its users have it: the binary, a configuration file, the commands.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lb_tests::clock;
use lb_tests::lab::Host;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A running `lb run`, and where its commands reach it.
pub(crate) struct Product {
    host: Host,
    binary: PathBuf,
    socket: PathBuf,
    log: PathBuf,
    child: Child,
}

impl Product {
    /// Starts it on `host` and waits until it answers. `dir` takes its configuration, socket, state and log.
    pub(crate) fn start(host: &Host, dir: &Path, configuration: &str) -> Result<Self> {
        let binary = PathBuf::from(std::env::var_os("LB_BIN").context("LB_BIN does not say where `lb` is")?);
        let (file, log) = (dir.join("lb.toml"), dir.join("lb.log"));
        std::fs::write(&file, configuration)?;
        let out = std::fs::File::create(&log)?;
        let mut command = Command::new(&binary);
        command.args(["run", "--config"]).arg(&file).stdin(Stdio::null());
        command.stdout(out.try_clone()?).stderr(out);
        let child = host.spawn(&mut command)?;
        let mut product = Self { host: host.clone(), binary, socket: dir.join("lb.sock"), log, child };
        clock::until("lb run answers", Duration::from_secs(20), || {
            if let Some(status) = product.child.try_wait()? {
                bail!("it ended with {status}");
            }
            product.json(&["status"]).map(Some)
        })
        .with_context(|| format!("lb run does not come up; its log:\n{}", product.log_tail()))?;
        Ok(product)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut c = Command::new(&self.binary);
        c.args(words).env("LB_SOCKET", &self.socket).stdin(Stdio::null());
        c
    }

    /// What a command prints, for people.
    pub(crate) fn text(&self, words: &[&str]) -> Result<String> {
        let out = self.host.inside(|| self.command(words).output())??;
        if !out.status.success() {
            bail!(
                "`lb {}` ended with {}: {}",
                words.join(" "),
                out.status,
                String::from_utf8_lossy(&out.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// What a command prints with `--json`.
    pub(crate) fn json(&self, words: &[&str]) -> Result<Value> {
        let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
        Ok(serde_json::from_str(&self.text(&words)?)?)
    }

    /// Starts a command that takes its time.
    pub(crate) fn begin(&self, words: &[&str]) -> Result<Child> {
        self.host.spawn(self.command(words).stdout(Stdio::null()))
    }

    /// One backend's entry of `lb backend list --json`.
    pub(crate) fn backend(&self, address: &str) -> Result<Value> {
        let list = self.json(&["backend", "list"])?;
        let found = list.as_array().and_then(|l| l.iter().find(|b| b["address"] == address));
        found.cloned().with_context(|| format!("lb backend list does not name {address}"))
    }

    /// Ends it as systemd would, and wants a clean end.
    pub(crate) fn stop(&mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        let status = clock::until("lb run ends", Duration::from_secs(10), || Ok(self.child.try_wait()?))?;
        if !status.success() {
            bail!("lb run ended with {status}; its log:\n{}", self.log_tail());
        }
        Ok(())
    }

    /// The last lines of its log.
    pub(crate) fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
