//! TLS to what is probed, by the pool's own rules.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use lb_model::http::UpstreamTls;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{tcp, words};

/// How long files are not read again; system roots are many, and probes frequent.
const KEPT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Alpn {
    Http1,
    Http2,
}

type Made = HashMap<(UpstreamTls, Alpn), (Instant, Arc<ClientConfig>)>;

static MADE: LazyLock<Mutex<Made>> = LazyLock::new(Mutex::default);

fn config(how: &UpstreamTls, alpn: Alpn) -> Result<Arc<ClientConfig>, String> {
    let now = Instant::now();
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.retain(|_, (at, _)| now.duration_since(*at) < KEPT);
    let key = (how.clone(), alpn);
    if let Some((_, config)) = made.get(&key) {
        return Ok(Arc::clone(config));
    }
    let protocols: &[&[u8]] = match alpn {
        Alpn::Http1 => &[b"http/1.1"],
        Alpn::Http2 => &[b"h2"],
    };
    let config = lb_certs::client::config(how, protocols)?;
    made.insert(key, (now, Arc::clone(&config)));
    Ok(config)
}

/// Verified is `tls.server_name`, else the check's `host`, else the address.
pub(super) async fn connect(
    address: SocketAddr,
    how: &UpstreamTls,
    host: Option<&str>,
    alpn: Alpn,
) -> Result<TlsStream<TcpStream>, String> {
    let config = config(how, alpn)?;
    let host = host.map(|h| h.rsplit_once(':').map_or(h, |(name, _)| name));
    let name = match how.server_name.as_deref().or(host) {
        Some(name) => ServerName::try_from(name.to_owned()).map_err(|_| format!("'{name}' is not a server name"))?,
        None => ServerName::from(address.ip()),
    };
    let tcp = tcp::connect(address).await?;
    let tls = TlsConnector::from(config).connect(name, tcp).await.map_err(|error| {
        let inner = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
        inner.map_or_else(|| format!("TLS: {}", words(&error)), |e| format!("TLS: {e}"))
    })?;
    if alpn == Alpn::Http2 && tls.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err("TLS: HTTP/2 is not spoken there".to_owned());
    }
    Ok(tls)
}
