//! How a pool's backends are spoken to: the protocol, and TLS with everything it needs, read from files once.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use lb_model::BackendAddress;
use lb_model::http::{HttpPool, UpstreamProtocol, UpstreamTls};
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Connections that were made over one link are not used for another.
pub(crate) struct Link {
    pub(crate) id: u64,
    pub(crate) protocol: UpstreamProtocol,
    pub(crate) tls: Option<TlsConnector>,
    server_name: Option<ServerName<'static>>,
    /// What it was made from, and a hash of the files.
    made_from: (Option<UpstreamTls>, u64),
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("id", &self.id).field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

impl Link {
    /// Clear-text HTTP/1.1.
    pub(crate) fn plain() -> Self {
        let id = NEXT.fetch_add(1, Relaxed);
        Self { id, protocol: UpstreamProtocol::H1, tls: None, server_name: None, made_from: (None, 0) }
    }

    /// # Errors
    /// In words.
    pub(crate) fn new(http: &HttpPool) -> Result<Self, String> {
        let mut link = Self { protocol: http.protocol, ..Self::plain() };
        let Some(tls) = &http.tls else {
            return match http.protocol {
                UpstreamProtocol::H2 => Err("protocol 'h2' needs 'tls'; in clear text it is 'h2c'".to_owned()),
                _ => Ok(link),
            };
        };
        let alpn: &[&[u8]] = if link.is_h2() { &[b"h2"] } else { &[b"http/1.1"] };
        link.tls = Some(TlsConnector::from(lb_certs::client::config(tls, alpn)?));
        if let Some(name) = &tls.server_name {
            let name = ServerName::try_from(name.clone()).map_err(|_| format!("'{name}' is not a server name"))?;
            link.server_name = Some(name);
        }
        link.made_from = (Some(tls.clone()), files(tls));
        Ok(link)
    }

    /// A new one would be the same: the same keys, and the same bytes in the files.
    pub(crate) fn is_for(&self, http: &HttpPool) -> bool {
        self.protocol == http.protocol
            && self.made_from.0 == http.tls
            && http.tls.as_ref().is_none_or(|tls| files(tls) == self.made_from.1)
    }

    pub(crate) const fn is_h2(&self) -> bool {
        matches!(self.protocol, UpstreamProtocol::H2 | UpstreamProtocol::H2c)
    }

    /// SNI and the name that is verified.
    pub(crate) fn name_for(&self, configured: &BackendAddress, address: SocketAddr) -> ServerName<'static> {
        let own = || match configured {
            BackendAddress::Host { host, .. } => ServerName::try_from(host.as_str().to_owned()).ok(),
            BackendAddress::Ip { .. } => None,
        };
        self.server_name.clone().or_else(own).unwrap_or_else(|| ServerName::from(address.ip().to_canonical()))
    }
}

/// A hash of the files' bytes; those that cannot be read differ from themselves only by what `Link::new` will say.
fn files(tls: &UpstreamTls) -> u64 {
    let mut hash = DefaultHasher::new();
    let client = tls.client.iter().flat_map(|(cert, key)| [cert, key]);
    for path in tls.ca.iter().chain(client) {
        std::fs::read(path).unwrap_or_default().hash(&mut hash);
    }
    hash.finish()
}
