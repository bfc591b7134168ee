//! TLS of one listener: what it serves with, kept up to date.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use lb_model::http::Listener;

use crate::{Challenges, View};

/// Shared by all workers. [`Self::config`] is a load of a pointer: ask for each connection, for it changes with the files.
#[derive(Debug)]
pub struct ServerTls {}

impl ServerTls {
    /// Reads and checks every file that the listener names.
    ///
    /// # Errors
    /// All that is wrong, in words with paths.
    pub fn load(listener: &Listener, state_dir: &Path, challenges: &Arc<Challenges>) -> Result<Arc<Self>, Vec<String>> {
        let _ = (listener, state_dir, challenges);
        Err(vec!["not built".to_owned()])
    }

    /// For TCP: ALPN h2 and http/1.1 as the listener speaks them, client certificates, resumption by rotated tickets, no
    /// early data. Also `acme-tls/1` where ACME may need it: such a connection is closed after its handshake
    /// ([`crate::ACME_TLS_ALPN`]).
    #[must_use]
    pub fn config(&self) -> Arc<rustls::ServerConfig> {
        unreachable!("load makes none")
    }

    /// For QUIC: ALPN h3, TLS 1.3.
    #[must_use]
    pub fn quic(&self) -> Arc<rustls::ServerConfig> {
        unreachable!("load makes none")
    }

    /// Some certificate is for `host` (with or without a final dot; no port).
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        let _ = host;
        false
    }

    #[must_use]
    pub fn certificates(&self) -> Vec<View> {
        Vec::new()
    }

    /// To be called each second, off the workers: reads files that have changed. What does not load or fit is ignored,
    /// logged once and shown in [`View::error`].
    pub fn poll(&self, now: SystemTime) {
        let _ = now;
    }
}
