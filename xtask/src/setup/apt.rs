//! Debian packages: installed where we may, and without starting the services some of them bring along.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::Missing;
use crate::shell;

/// Debian asks this script before a package's service is started; 101 means no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

pub(super) fn missing(packages: Vec<&'static str>) -> Missing {
    let names = packages.join(" ");
    Missing {
        what: format!("a program or library ({names})"),
        fix: format!("apt-get update && apt-get install -y --no-install-recommends {names}"),
        install: Box::new(move || install(&packages)),
    }
}

/// Is the package installed?
pub(super) fn has(package: &str) -> bool {
    let asked = shell::output(shell::command("dpkg-query").args(["-W", "-f=${Status}", package]));
    asked.is_ok_and(|s| s.ends_with("ok installed"))
}

fn install(packages: &[&str]) -> Result<()> {
    if shell::find("apt-get").is_none() {
        bail!("there is no apt-get here; install the same by this system's own means");
    }
    if !shell::is_root() {
        bail!("only root may install packages");
    }
    let _quiet = NoServices::new()?;
    let get = |args: &[&str]| {
        shell::run(shell::command("apt-get").args(["-q", "-y"]).args(args).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let install: Vec<&str> = ["install", "--no-install-recommends"].iter().chain(packages).copied().collect();
    // The package lists may be absent (fresh container) or stale; they are fetched only if need be.
    if get(&install).is_ok() {
        return Ok(());
    }
    get(&["update"])?;
    get(&install)
}

/// While it lives, installing a package starts no service.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn new() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        std::fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("cannot write {POLICY}"))?;
        std::fs::set_permissions(POLICY, std::fs::Permissions::from_mode(0o755))?;
        Ok(Self { ours: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            let _ = std::fs::remove_file(POLICY);
        }
    }
}
