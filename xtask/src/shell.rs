//! Running other programs: found in the usual places, shown as typed, failing with their name.

use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::house;

/// Where administrators' programs live even when an ordinary user's `PATH` does not say so.
const ALSO: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/local/bin"];

/// The full path of a program, if it is installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cargo_bin = cargo_home().map(|h| h.join("bin"));
    std::env::split_paths(&path)
        .chain(ALSO.iter().map(PathBuf::from))
        .chain(cargo_bin)
        .map(|dir| dir.join(program))
        .find(|p| is_executable(p))
}

fn is_executable(p: &Path) -> bool {
    std::fs::metadata(p).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

fn cargo_home() -> Option<PathBuf> {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cargo")))
}

/// Are we the superuser? (`/proc/self` belongs to the effective user.)
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

/// A command to be run from the workspace's root.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut c = Command::new(program);
    c.current_dir(house::root());
    c
}

/// Cargo, the very one that runs us.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The command as one would type it.
pub(crate) fn shown(c: &Command) -> String {
    let program = Path::new(c.get_program()).file_name().unwrap_or(c.get_program()).to_string_lossy();
    std::iter::once(program.into_owned())
        .chain(c.get_args().map(|a| a.to_string_lossy().into_owned()))
        .collect::<Vec<_>>()
        .join(" ")
}

pub(crate) fn status(c: &mut Command) -> Result<ExitStatus> {
    c.status().with_context(|| format!("cannot start `{}`", shown(c)))
}

/// Runs it and wants success.
pub(crate) fn run(c: &mut Command) -> Result<()> {
    let s = status(c)?;
    if !s.success() {
        bail!("`{}` ended with {s}", shown(c));
    }
    Ok(())
}

/// What it prints, trimmed; wants success.
pub(crate) fn output(c: &mut Command) -> Result<String> {
    let out = c.output().with_context(|| format!("cannot start `{}`", shown(c)))?;
    if !out.status.success() {
        bail!("`{}` ended with {}: {}", shown(c), out.status, String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// The clock, for saying how long things took.
#[expect(clippy::disallowed_methods, reason = "the edge that reads the clock for this program")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Seconds or minutes since `start`, in words.
pub(crate) fn took(start: Instant) -> String {
    let s = now().duration_since(start).as_secs_f64();
    if s < 60.0 { format!("{s:.1} s") } else { format!("{:.0} min {:02.0} s", (s / 60.0).floor(), s % 60.0) }
}
