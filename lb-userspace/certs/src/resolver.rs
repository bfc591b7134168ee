//! Which certificate a handshake gets: exact name, wildcard of one label, else the first.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::challenges::{ACME_TLS_ALPN, Challenges};
use crate::names;

/// A name's certificates in the order of the configuration: several where keys are of different kinds.
type Choice = Vec<Arc<CertifiedKey>>;

/// All certificates of a listener, by name; never changed, only replaced.
#[derive(Debug, Default)]
pub(crate) struct Table {
    by_name: HashMap<String, Choice>,
    first: Choice,
}

impl Table {
    /// Of (names chosen, names that the certificate has, certificate), in the configuration's order. A name that was chosen
    /// for one certificate does not go to another that has it too.
    pub(crate) fn new<'a>(
        all: impl Iterator<Item = (&'a [String], &'a [String], &'a Arc<CertifiedKey>)> + Clone,
    ) -> Self {
        let mut by_name: HashMap<String, Choice> = HashMap::new();
        for (chosen, own, key) in all.clone() {
            let names = if chosen.is_empty() { own } else { chosen };
            for name in names {
                by_name.entry(name.clone()).or_default().push(Arc::clone(key));
            }
        }
        for (_, own, key) in all.clone() {
            for name in own {
                by_name.entry(name.clone()).or_insert_with(|| vec![Arc::clone(key)]);
            }
        }
        // The first certificate, and whatever else its names have: another kind of key.
        let first = all.clone().next().map_or_else(Vec::new, |(chosen, own, key)| {
            let name = chosen.first().or_else(|| own.first());
            name.and_then(|n| by_name.get(n)).cloned().unwrap_or_else(|| vec![Arc::clone(key)])
        });
        Self { by_name, first }
    }

    fn of(&self, host: &str) -> Option<&Choice> {
        self.by_name.get(host).or_else(|| self.by_name.get(&names::wildcard(host)?))
    }

    /// Whether a certificate is for `host`.
    pub(crate) fn covers(&self, host: &str) -> bool {
        self.of(&names::canonical(host)).is_some()
    }
}

#[derive(Debug)]
pub(crate) struct Resolver {
    pub(crate) table: ArcSwap<Table>,
    pub(crate) challenges: Arc<Challenges>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = hello.server_name().map(names::canonical);
        // RFC 8737 §3: a validation offers this protocol and no other.
        if hello.alpn().is_some_and(|mut offered| offered.any(|p| p == ACME_TLS_ALPN)) {
            return self.challenges.tls(&host?);
        }
        let table = self.table.load();
        let choice = host.and_then(|h| table.of(&h)).unwrap_or(&table.first);
        let schemes = hello.signature_schemes();
        choice.iter().find(|c| c.key.choose_scheme(schemes).is_some()).or_else(|| choice.first()).cloned()
    }
}
