//! Python programs that tests use, each in an environment of its own.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Missing;
use crate::shell;

/// One package, the program of it that shows that it is there, and what it is for. The tests find an environment by the
/// package's name and version (`tests/src/authority.rs`, `tests/src/http/venv.rs`).
struct Environment {
    folder: &'static str,
    package: &'static str,
    version: &'static str,
    program: &'static str,
    purpose: &'static str,
}

const ENVIRONMENTS: [Environment; 2] = [
    Environment {
        folder: "serles",
        package: "serles-acme",
        version: "1.3.0",
        program: "serles",
        purpose: "which certificates are ordered from in tests",
    },
    Environment {
        folder: "websockets",
        package: "websockets",
        version: "16.1.1",
        program: "websockets",
        purpose: "the WebSocket client and server of tests",
    },
];

pub(super) fn missing() -> impl Iterator<Item = Missing> {
    ENVIRONMENTS.iter().filter(|e| !e.folder().join("bin").join(e.program).exists()).map(Environment::missing)
}

impl Environment {
    fn folder(&self) -> PathBuf {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cache")));
        cache.unwrap_or_default().join(format!("lb-tests/{}-{}", self.folder, self.version))
    }

    fn missing(&self) -> Missing {
        let folder = self.folder();
        let wanted = format!("{}=={}", self.package, self.version);
        Missing {
            what: format!("{} {}, {}", self.package, self.version, self.purpose),
            fix: format!("python3 -m venv {0} && {0}/bin/pip install {wanted}", folder.display()),
            install: Box::new(move || install(&folder, &wanted)),
        }
    }
}

fn install(folder: &Path, wanted: &str) -> Result<()> {
    let python = shell::find("python3").context("python3 is missing (apt install python3-venv)")?;
    shell::run(shell::command(python).args(["-m", "venv"]).arg(folder)).context("apt install python3-venv")?;
    let pip = folder.join("bin/pip");
    shell::run(shell::command(pip).args(["install", "--quiet", "--timeout", "30", "--retries", "3", wanted]))
}
