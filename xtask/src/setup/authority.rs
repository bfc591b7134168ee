//! The certificate authority that tests order from: serles-acme, in a Python environment of its own.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::Missing;
use crate::shell;

const VERSION: &str = "1.3.0";

/// `tests/src/authority.rs` looks there.
fn folder() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cache")));
    cache.unwrap_or_default().join(format!("lb-tests/serles-{VERSION}"))
}

pub(super) fn is_missing() -> bool {
    !folder().join("bin/serles").exists()
}

pub(super) fn missing() -> Missing {
    let folder = folder();
    let wanted = format!("serles-acme=={VERSION}");
    Missing {
        what: format!("serles-acme {VERSION}, which certificates are ordered from in tests"),
        fix: format!("python3 -m venv {0} && {0}/bin/pip install {wanted}", folder.display()),
        install: Box::new(move || install(&folder, &wanted)),
    }
}

fn install(folder: &std::path::Path, wanted: &str) -> Result<()> {
    let python = shell::find("python3").context("python3 is missing (apt install python3-venv)")?;
    shell::run(shell::command(python).args(["-m", "venv"]).arg(folder)).context("apt install python3-venv")?;
    let pip = folder.join("bin/pip");
    shell::run(shell::command(pip).args(["install", "--quiet", "--timeout", "30", "--retries", "3", wanted]))
}
