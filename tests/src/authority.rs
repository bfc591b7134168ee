//! A real certificate authority on this host: serles-acme, installed by `cargo xtask setup`.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Ends with the test.
#[derive(Debug)]
pub struct Authority {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Authority {
    /// http-01 looks for every name at `http_port` of 127.0.0.1, tls-alpn-01 at `tls_port`. Its certificates are valid for
    /// `seconds`.
    ///
    /// # Panics
    /// If it is not installed, or does not start.
    #[must_use]
    pub fn start(http_port: u16, tls_port: u16, seconds: u64) -> Self {
        let python = python();
        assert!(python.exists(), "{} is missing: run `cargo xtask setup`", python.display());
        let folder = tempfile::tempdir().expect("a folder");
        let script = folder.path().join("authority.py");
        std::fs::write(&script, include_str!("authority.py")).expect("written");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let mut child = Command::new(python)
            .arg(&script)
            .arg(folder.path())
            .args([http_port.to_string(), tls_port.to_string(), seconds.to_string()])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("python starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let port = line.strip_prefix("ready ").and_then(|p| p.trim().parse().ok());
        let authority = Self { child, folder, port: port.unwrap_or(0) };
        assert!(port.is_some(), "it did not start: {line}{}", authority.log());
        authority
    }

    /// The directory's URL.
    #[must_use]
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/directory", self.port)
    }

    /// The root of its own TLS and of what it issues.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What it wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Where `xtask/src/setup/authority.rs` puts it.
fn python() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cache")));
    cache.unwrap_or_default().join("lb-tests/serles-1.3.0/bin/python")
}
