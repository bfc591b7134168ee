//! A host of the lab: one namespace, in which code and commands run.

use std::process::{Child, Command, Output};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};

use super::netns;

#[derive(Clone, Debug)]
pub struct Host {
    name: String,
    netns: String,
}

impl Host {
    pub(crate) fn new(label: &str, name: &str) -> Self {
        Self { name: name.to_owned(), netns: format!("{}{label}-{name}", netns::PREFIX) }
    }
    /// `client`, `lb`, `b0` …
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The namespace's name under `/run/netns`.
    #[must_use]
    pub fn netns(&self) -> &str {
        &self.netns
    }

    /// Runs `f` inside, on a thread of its own, and waits for it. Threads it starts and commands it spawns are inside too.
    ///
    /// # Errors
    /// If the namespace cannot be entered. A panic of `f` goes on here.
    pub fn inside<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T> {
        netns::inside(&self.netns, f)
    }

    /// Starts `f` inside, on a thread of its own.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn start<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<JoinHandle<Result<T>>> {
        let name = self.netns.clone();
        let start = move || {
            netns::enter(&name)?;
            f()
        };
        std::thread::Builder::new().name(self.name.clone()).spawn(start).context("cannot start a thread")
    }

    /// Runs a command inside to its end.
    ///
    /// # Errors
    /// If it fails; with what it wrote.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        let output = self.inside(|| finish(program, Command::new(program).args(args)))??;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts a command inside.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(&self, command: &mut Command) -> Result<Child> {
        let text = format!("{command:?}");
        self.inside(|| command.spawn())?.with_context(|| format!("cannot start {text}"))
    }

    /// Cuts the wire, as a host that loses power: nobody hears of it.
    ///
    /// # Errors
    /// If the interface cannot be set down.
    pub fn cut(&self) -> Result<()> {
        self.run("ip", &["link", "set", "eth0", "down"]).map(drop)
    }

    pub(crate) fn set(&self, values: &[(&str, &str)]) -> Result<()> {
        self.inside(|| {
            for (key, value) in values {
                let path = format!("/proc/sys/net/{}", key.replace('.', "/"));
                std::fs::write(&path, value).with_context(|| format!("cannot write {path}"))?;
            }
            Ok(())
        })?
    }
}

/// Runs a command to its end and turns a failure into an error with its last words.
pub(crate) fn finish(program: &str, command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("cannot run {program}: is it installed?"))?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output)
}
