//! What a certificate authority will ask for while an order is under way, and how orders fare.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::sign::CertifiedKey;

/// The protocol of a validation's handshake (RFC 8737 §3). After it no application data may follow: a connection that
/// has negotiated it is closed.
pub const ACME_TLS_ALPN: &[u8] = b"acme-tls/1";

/// Shared by listeners, which answer, and by orders, which say what to answer. Locks are held for a look-up.
#[derive(Debug, Default)]
pub struct Challenges {
    http: RwLock<HashMap<String, String>>,
    tls: RwLock<HashMap<String, Arc<CertifiedKey>>>,
    faults: RwLock<HashMap<PathBuf, String>>,
}

impl Challenges {
    /// The body for `/.well-known/acme-challenge/TOKEN` in clear text (RFC 8555 §8.3), whatever the host.
    #[must_use]
    pub fn http(&self, token: &str) -> Option<String> {
        self.http.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    /// The certificate for a validation's handshake (RFC 8737 §3).
    pub(crate) fn tls(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        self.tls.read().unwrap_or_else(PoisonError::into_inner).get(host).cloned()
    }

    /// Why the order of the certificate kept at `path` failed last.
    pub(crate) fn fault(&self, path: &Path) -> Option<String> {
        self.faults.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }
}
