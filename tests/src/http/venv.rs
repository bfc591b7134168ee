//! Python programs that tests use, each in an environment of its own that `cargo xtask setup` makes.

use std::path::PathBuf;

use anyhow::{Result, ensure};

/// The interpreter of the environment of that name.
///
/// # Errors
/// If it is not there.
pub fn python(name: &str) -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cache")));
    let path = cache.unwrap_or_default().join("lb-tests").join(name).join("bin/python");
    ensure!(path.exists(), "no {}: cargo xtask setup", path.display());
    Ok(path)
}
