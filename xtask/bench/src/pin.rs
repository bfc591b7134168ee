//! Keeps the calling thread, and what it starts, on one CPU.

use anyhow::{Context as _, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// CPUs that we may use, lowest first.
pub(crate) fn cpus() -> Result<Vec<usize>> {
    let all = sched_getaffinity(Pid::from_raw(0)).context("cannot ask for our CPUs")?;
    Ok((0..CpuSet::count()).filter(|c| all.is_set(*c).unwrap_or(false)).collect())
}

/// The calling thread runs on `cpu` alone from now on; threads and processes it starts inherit that.
pub(crate) fn to(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot stay on CPU {cpu}"))
}
