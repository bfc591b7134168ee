//! What a certificate authority will ask for while an order is under way, and how orders fare.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::sign::CertifiedKey;

/// The protocol of a validation's handshake (RFC 8737 §3). After it no application data may follow: a connection that
/// has negotiated it is closed.
pub const ACME_TLS_ALPN: &[u8] = b"acme-tls/1";

/// How it is shown that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Method {
    /// RFC 8555 §8.3: at port 80, in clear text.
    Http,
    /// RFC 8737: in a handshake at port 443.
    TlsAlpn,
}

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

    pub(crate) fn answer_http(self: &Arc<Self>, token: &str, authorization: &str) -> Answer {
        let mut answers = self.http.write().unwrap_or_else(PoisonError::into_inner);
        answers.insert(token.to_owned(), authorization.to_owned());
        Answer { challenges: Arc::clone(self), key: token.to_owned(), by: Method::Http }
    }

    pub(crate) fn answer_tls(self: &Arc<Self>, host: &str, certificate: CertifiedKey) -> Answer {
        let mut answers = self.tls.write().unwrap_or_else(PoisonError::into_inner);
        answers.insert(host.to_owned(), Arc::new(certificate));
        Answer { challenges: Arc::clone(self), key: host.to_owned(), by: Method::TlsAlpn }
    }

    /// How the order of the certificate kept at `path` ended.
    pub(crate) fn note(&self, path: &Path, fault: Option<String>) {
        let mut faults = self.faults.write().unwrap_or_else(PoisonError::into_inner);
        match fault {
            Some(fault) => faults.insert(path.to_owned(), fault),
            None => faults.remove(path),
        };
    }

    /// Why the order of the certificate kept at `path` failed last.
    pub(crate) fn fault(&self, path: &Path) -> Option<String> {
        self.faults.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }
}

/// What is answered until it is dropped.
#[derive(Debug)]
pub(crate) struct Answer {
    challenges: Arc<Challenges>,
    key: String,
    by: Method,
}

impl Drop for Answer {
    fn drop(&mut self) {
        match self.by {
            Method::Http => {
                self.challenges.http.write().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
            }
            Method::TlsAlpn => {
                self.challenges.tls.write().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
            }
        }
    }
}
