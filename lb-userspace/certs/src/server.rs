//! TLS of one listener: what it serves with, kept up to date.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use lb_model::http::Listener;
use rustls::ServerConfig;

use crate::entry::Entry;
use crate::resolver::{Resolver, Table};
use crate::settings;
use crate::watch::Watched;
use crate::{Challenges, View};

/// Shared by all workers. [`Self::config`] is a load of a pointer: ask for each connection, for it changes with the files.
#[derive(Debug)]
pub struct ServerTls {
    listener: Listener,
    resolver: Arc<Resolver>,
    tcp: ArcSwap<ServerConfig>,
    quic: ArcSwap<ServerConfig>,
    /// Off the workers only.
    files: Mutex<Files>,
}

#[derive(Debug)]
struct Files {
    entries: Vec<Entry>,
    client_ca: Option<Watched>,
    /// Why a changed client CA is not in force.
    client_ca_error: Option<String>,
}

impl ServerTls {
    /// Reads and checks every file that the listener names; changes nothing.
    ///
    /// # Errors
    /// All that is wrong, in words with paths.
    pub fn load(listener: &Listener, state_dir: &Path, challenges: &Arc<Challenges>) -> Result<Arc<Self>, Vec<String>> {
        let mut faults = Vec::new();
        let mut entries = Vec::new();
        for certificate in &listener.certificates {
            match Entry::load(certificate, state_dir) {
                Ok(entry) => entries.push(entry),
                Err(e) => faults.push(e),
            }
        }
        if listener.certificates.is_empty() {
            faults.push("no certificate".to_owned());
        }
        let resolver =
            Arc::new(Resolver { table: ArcSwap::from_pointee(table(&entries)), challenges: Arc::clone(challenges) });
        let configs = settings::both(listener, &resolver).map_err(|e| faults.push(e)).ok();
        let Some((tcp, quic)) = configs.filter(|_| faults.is_empty()) else { return Err(faults) };
        let client_ca = listener.client_auth.as_ref().map(|auth| {
            let mut watched = Watched::new(&auth.ca);
            watched.look(SystemTime::UNIX_EPOCH);
            watched
        });
        Ok(Arc::new(Self {
            listener: listener.clone(),
            resolver,
            tcp: ArcSwap::from_pointee(tcp),
            quic: ArcSwap::from_pointee(quic),
            files: Mutex::new(Files { entries, client_ca, client_ca_error: None }),
        }))
    }

    /// For TCP: ALPN h2 and http/1.1 as the listener speaks them, client certificates, resumption by rotated tickets, no
    /// early data. Also `acme-tls/1` while a validation is under way: such a connection is closed after its handshake
    /// ([`crate::ACME_TLS_ALPN`]).
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.tcp.load_full()
    }

    /// For QUIC: ALPN h3, TLS 1.3. Another value when the client CA has changed; certificates change within it.
    #[must_use]
    pub fn quic(&self) -> Arc<ServerConfig> {
        self.quic.load_full()
    }

    /// Some certificate is for `host` (with or without a final dot; no port).
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        self.resolver.table.load().covers(host)
    }

    #[must_use]
    pub fn certificates(&self) -> Vec<View> {
        let files = self.files();
        let mut views: Vec<View> = files.entries.iter().map(|e| e.view(&self.resolver.challenges)).collect();
        for view in &mut views {
            view.error = view.error.take().or_else(|| files.client_ca_error.clone());
        }
        views
    }

    /// To be called each second, off the workers: reads files that have changed. What does not load or fit is ignored,
    /// logged once and shown in [`View::error`].
    pub fn poll(&self, now: SystemTime) {
        let mut files = self.files();
        let mut changed = false;
        for entry in &mut files.entries {
            changed |= entry.poll(now);
        }
        if changed {
            self.resolver.table.store(Arc::new(table(&files.entries)));
        }
        let files = &mut *files;
        if files.client_ca.as_mut().is_some_and(|ca| ca.look(now)) {
            // New tickets too: nobody resumes a session that the new CA would not begin.
            files.client_ca_error = match settings::both(&self.listener, &self.resolver) {
                Ok((tcp, quic)) => {
                    self.tcp.store(Arc::new(tcp));
                    self.quic.store(Arc::new(quic));
                    tracing::info!(listener = %self.listener.name, "another client CA is in force");
                    None
                }
                Err(e) => {
                    tracing::warn!(listener = %self.listener.name, "a changed client CA is not used: {e}");
                    Some(e)
                }
            };
        }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn table(entries: &[Entry]) -> Table {
    Table::new(entries.iter().map(|e| (e.chosen.as_slice(), e.pair.names.as_slice(), &e.pair.key)))
}
