//! A certificate of our own for `lb run --listen https://…` without `--cert`: nobody trusts it, and that is said loudly.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use lb_model::Desired;
use lb_model::http::CertificateSource;

/// Makes the files if a listener names them and they are not there. What the operator should know, if they are in use.
pub(super) fn make(desired: &Desired, state_dir: &Path) -> anyhow::Result<Option<String>> {
    let (cert, key) = lb_config::self_signed_files(state_dir);
    let own = CertificateSource::Files { cert: cert.clone(), key: key.clone() };
    let users: Vec<_> = desired.listeners.values().filter(|l| l.certificates.iter().any(|c| c.source == own)).collect();
    if users.is_empty() {
        return Ok(None);
    }
    if !(cert.exists() && key.exists()) {
        let mut names = vec!["localhost".to_owned()];
        let host = rustix::system::uname().nodename().to_str().map(str::to_owned);
        names.extend(host.ok().filter(|h| !h.is_empty() && h != "localhost"));
        names.extend(users.iter().map(|l| l.listen.ip()).filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string()));
        names.dedup();
        let made = rcgen::generate_simple_self_signed(names).context("no certificate could be made")?;
        std::fs::create_dir_all(state_dir).with_context(|| format!("cannot make {}", state_dir.display()))?;
        write(&key, &made.signing_key.serialize_pem(), 0o600)?;
        write(&cert, &made.cert.pem(), 0o644)?;
    }
    Ok(Some(format!(
        "https:// is served with a SELF-SIGNED certificate ({}), which no client trusts; give --cert and --key",
        cert.display()
    )))
}

fn write(path: &Path, pem: &str, mode: u32) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path);
    file.and_then(|mut f| f.write_all(pem.as_bytes())).with_context(|| format!("cannot write {}", path.display()))
}
