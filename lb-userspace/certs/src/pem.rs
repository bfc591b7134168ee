//! PEM files, and what is wrong with them in words that name the file.

use std::io::Read as _;
use std::path::Path;

use rustls::RootCertStore;
use rustls_pki_types::pem::{Error, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Bundles of all public roots have some 250 KiB.
const LARGEST: u64 = 4 << 20;

/// A whole file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let named = |e: std::io::Error| format!("{}: {e}", path.display());
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(named)?.take(LARGEST + 1).read_to_end(&mut bytes).map_err(named)?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("{}: larger than {} MiB", path.display(), LARGEST >> 20));
    }
    Ok(bytes)
}

/// All certificates of a file, at least one.
pub(crate) fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| fault(path, "a certificate", &e))?;
    if found.is_empty() {
        return Err(format!("{}: no certificate in it (no 'BEGIN CERTIFICATE')", path.display()));
    }
    Ok(found)
}

/// The first private key: PKCS #8, PKCS #1 or SEC 1.
pub(crate) fn key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    if bytes.windows(27).any(|w| w == b"BEGIN ENCRYPTED PRIVATE KEY") {
        return Err(format!("{}: the key is encrypted; lb has nobody to ask for a password", path.display()));
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|e| fault(path, "a private key", &e))
}

/// Trust anchors; every certificate of the file must be usable as one.
pub(crate) fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (n, der) in certificates(path, &read(path)?)?.into_iter().enumerate() {
        roots.add(der).map_err(|e| format!("{}: certificate {}: {e}", path.display(), n + 1))?;
    }
    Ok(roots)
}

fn fault(path: &Path, what: &str, error: &Error) -> String {
    let why = match error {
        Error::NoItemsFound => format!("no {} in it", what.trim_start_matches("a ")),
        Error::MissingSectionEnd { .. } => "cut off: the END line is missing".to_owned(),
        Error::IllegalSectionStart { .. } => "a broken BEGIN line".to_owned(),
        Error::Base64Decode(_) => "not Base64 between BEGIN and END".to_owned(),
        other => other.to_string(),
    };
    format!("{}: cannot be read as {what}: {why}", path.display())
}
