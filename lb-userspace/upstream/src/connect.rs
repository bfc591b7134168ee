//! A new connection to a backend: TCP, TLS, the protocol's beginning.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use lb_model::BackendAddress;
use lb_model::http::Refusal;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::backend::Backend;
use crate::lane::{H1, H2, Lane};
use crate::link::Link;
use crate::stream::{Stream, Transport};
use crate::upload::Outgoing;

/// Bytes of a response's head.
const MAX_HEAD: usize = 64 << 10;
/// Bytes of an HTTP/2 response's field list, and of what may be in flight towards us on a stream and a connection.
const H2_HEAD: u32 = 64 << 10;
const H2_STREAM_WINDOW: u32 = 1 << 20;
const H2_CONNECTION_WINDOW: u32 = 4 << 20;

/// Why there is no connection. Nothing of a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoConnection {
    Failed,
    TimedOut,
    Tls,
    /// A host name led to an address that is none of a backend's.
    Forbidden,
}

impl NoConnection {
    pub(crate) const fn refusal(self) -> Refusal {
        match self {
            Self::Failed | Self::Forbidden => Refusal::ConnectFailed,
            Self::TimedOut => Refusal::ConnectTimeout,
            Self::Tls => Refusal::BackendTls,
        }
    }

    pub(crate) const fn detail(self) -> &'static str {
        match self {
            Self::Failed => "the connection was refused or the service is out of reach",
            Self::Forbidden => "the name of the service leads to an address that is not allowed",
            Self::TimedOut => "the connection was not made in time",
            Self::Tls => "the TLS handshake failed",
        }
    }
}

/// Where clouds answer questions about a machine's secrets, beside link-local addresses: Alibaba, Azure, AWS.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// A name must not lead to a metadata service; an address that the operator wrote may.
fn is_forbidden(configured: &BackendAddress, address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    matches!(configured, BackendAddress::Host { .. }) && (link_local || METADATA.contains(&ip))
}

async fn transport(backend: &Backend, link: &Link, within: Duration) -> Result<Transport, NoConnection> {
    if is_forbidden(&backend.configured, backend.address) {
        return Err(NoConnection::Forbidden);
    }
    let tcp = match timeout(within, TcpStream::connect(backend.address)).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) => {
            tracing::debug!(backend = %backend.address, %error, "no connection");
            let timed_out = error.kind() == std::io::ErrorKind::TimedOut;
            return Err(if timed_out { NoConnection::TimedOut } else { NoConnection::Failed });
        }
        Err(_) => return Err(NoConnection::TimedOut),
    };
    // A connect to a free local port may meet itself (RFC 9293 §3.5): nobody listens there.
    if tcp.local_addr().ok() == tcp.peer_addr().ok() {
        return Err(NoConnection::Failed);
    }
    // Costs latency only if it fails.
    let _ = tcp.set_nodelay(true);
    let Some(connector) = &link.tls else { return Ok(Transport::Plain(tcp)) };
    let name = link.name_for(&backend.configured, backend.address);
    match timeout(within, connector.connect(name, tcp)).await {
        Ok(Ok(tls)) if link.is_h2() && tls.get_ref().1.alpn_protocol() != Some(b"h2") => {
            tracing::warn!(backend = %backend.address, "the backend does not speak HTTP/2 over TLS");
            Err(NoConnection::Tls)
        }
        Ok(Ok(tls)) => Ok(Transport::Tls(Box::new(tls))),
        Ok(Err(error)) => {
            tracing::warn!(backend = %backend.address, %error, "TLS to a backend failed");
            Err(NoConnection::Tls)
        }
        Err(_) => Err(NoConnection::Tls),
    }
}

async fn stream(lane: &Lane, link: &Link, within: Duration) -> Result<(TokioIo<Stream>, Arc<AtomicU64>), NoConnection> {
    let transport = transport(&lane.backend, link, within).await?;
    let read = Arc::new(AtomicU64::new(0));
    let stream = Stream { transport, backend: Arc::clone(&lane.backend), read: Arc::clone(&read) };
    Ok((TokioIo::new(stream), read))
}

pub(crate) async fn h1(lane: &Rc<Lane>, link: &Link, within: Duration) -> Result<H1, NoConnection> {
    let (io, read) = stream(lane, link, within).await?;
    let (sender, connection) =
        http1::Builder::new().max_header_size(MAX_HEAD).handshake(io).await.map_err(|_| NoConnection::Failed)?;
    let task = drive(lane, async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to a backend ended");
        }
    });
    Ok(H1::new(sender, task, link.id, read))
}

pub(crate) async fn h2(lane: &Rc<Lane>, link: &Link, within: Duration) -> Result<Rc<H2>, NoConnection> {
    let (io, read) = stream(lane, link, within).await?;
    let (sender, mut connection) = http2::Builder::new(Local)
        .max_header_list_size(H2_HEAD)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .handshake::<_, Outgoing>(io)
        .await
        .map_err(|_| NoConnection::Failed)?;
    let h2 = Rc::new(H2::new(sender, link.id, read));
    let limit = Rc::clone(&h2.limit);
    drive(lane, async move {
        let ended = std::future::poll_fn(|cx| {
            let polled = std::pin::Pin::new(&mut connection).poll(cx);
            limit.set(connection.current_max_send_streams());
            polled
        });
        if let Err(error) = ended.await {
            tracing::debug!(%error, "a connection to a backend ended");
        }
    });
    Ok(h2)
}

/// Runs a connection on this worker, in the lane's list while it lives.
fn drive(lane: &Rc<Lane>, connection: impl Future<Output = ()> + 'static) -> AbortHandle {
    let key = lane.live.borrow().vacant_key();
    let gone = Gone { lane: Rc::clone(lane), key };
    let task = tokio::task::spawn_local(async move {
        let _gone = gone;
        connection.await;
    });
    // No await since the key was taken, and the task has not run yet.
    lane.live.borrow_mut().insert(task.abort_handle());
    task.abort_handle()
}

struct Gone {
    lane: Rc<Lane>,
    key: usize,
}

impl Drop for Gone {
    fn drop(&mut self) {
        self.lane.live.borrow_mut().try_remove(self.key);
    }
}

/// Tasks of a connection stay on its worker.
#[derive(Clone, Copy, Debug)]
struct Local;

impl<F> hyper::rt::Executor<F> for Local
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_lead_to_link_local_addresses() {
        let name: BackendAddress = "metadata.example:80".parse().expect("an address");
        for s in ["169.254.169.254:80", "[fe80::1]:80", "[::ffff:169.254.169.254]:80", "[fd00:ec2::254]:80"] {
            let address: SocketAddr = s.parse().expect("an address");
            assert!(is_forbidden(&name, address), "{s}");
            assert!(!is_forbidden(&address.into(), address), "written by the operator: {s}");
        }
        assert!(!is_forbidden(&name, ([10, 0, 0, 1], 80).into()));
    }
}
