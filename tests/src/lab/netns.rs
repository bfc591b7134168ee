//! Network namespaces by name: made, entered, removed, and swept when their maker is dead.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) const PREFIX: &str = "lbt-";
const DIR: &str = "/run/netns";

pub(crate) fn create(name: &str) -> Result<()> {
    super::host::finish("ip", Command::new("ip").args(["netns", "add", name]))?;
    Ok(())
}

/// The lab's namespaces, of all processes.
pub(crate) fn list() -> Result<Vec<String>> {
    if !Path::new(DIR).exists() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(DIR).with_context(|| format!("cannot list {DIR}"))?;
    let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
    Ok(names.filter(|n| n.starts_with(PREFIX)).collect())
}

/// Ends what still runs inside, then removes the namespace; one that is not there is no error.
pub(crate) fn remove(name: &str) {
    if !Path::new(DIR).join(name).exists() {
        return;
    }
    let pids = Command::new("ip").args(["netns", "pids", name]).output().map(|o| o.stdout).unwrap_or_default();
    for pid in String::from_utf8_lossy(&pids).lines().filter_map(|l| l.trim().parse().ok()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let done = Command::new("ip").args(["netns", "del", name]).status();
    if !done.is_ok_and(|s| s.success()) {
        eprintln!("lab: the namespace {name} could not be removed");
    }
}

/// Removes the namespaces and leftovers of processes that are no more.
///
/// # Errors
/// If the namespaces cannot be listed.
pub fn reap() -> Result<()> {
    let dead = |name: &str| {
        let pid = name.strip_prefix(PREFIX).and_then(|r| r.split('-').next()).and_then(|p| p.parse::<u32>().ok());
        pid.is_some_and(|p| !Path::new(&format!("/proc/{p}")).exists())
    };
    for name in list()?.iter().filter(|n| dead(n)) {
        remove(name);
    }
    for dir in ["/tmp", "/sys/fs/bpf"] {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(dead) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
    Ok(())
}

/// Runs `f` on a thread of its own inside the namespace. Sockets made, threads started and commands spawned by it belong
/// there; the caller stays where it was.
pub(crate) fn inside<T: Send>(name: &str, f: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(name)?;
            Ok(f())
        });
        match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Moves the calling thread into the namespace, for the rest of its life.
pub(crate) fn enter(name: &str) -> Result<()> {
    let path = Path::new(DIR).join(name);
    let file = File::open(&path).with_context(|| format!("no namespace {}", path.display()))?;
    if let Err(e) = setns(&file, CloneFlags::CLONE_NEWNET) {
        bail!("cannot enter the namespace {name}: {e}");
    }
    Ok(())
}
