//! A worker's share of a listener: connections are accepted, made ready (PROXY header, TLS) and given to a protocol.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lb_model::http::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::connection::{Connection, Life, Tls};
use crate::listener::opening;
use crate::listener::stream::Stream;
use crate::protocol;
use crate::snapshot::Place;
use crate::stage::forwarded::Peer;
use crate::worker::Worker;

/// Pause after accept(2) failed for want of descriptors or memory.
const BREATH: Duration = Duration::from_millis(50);

/// Accepts until told to stop, and then what the kernel has completed already.
pub(crate) async fn run(worker: Rc<Worker>, place: Arc<Place>, socket: TcpListener, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                begin(&worker, &place, stream, from);
            }
            Err(e) if is_of_one_connection(&e) => {}
            Err(e) => {
                tracing::warn!("listener '{}': accept: {e}", place.site.load().listener.name);
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    // Another socket of this address may be open, here or in another process; these clients are this one's.
    while let Some(Ok((stream, from))) = futures_util::FutureExt::now_or_never(socket.accept()) {
        begin(&worker, &place, stream, from).go();
    }
}

fn is_of_one_connection(e: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(e.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn begin(worker: &Rc<Worker>, place: &Arc<Place>, stream: TcpStream, from: SocketAddr) -> Rc<Life> {
    let (worker, place) = (Rc::clone(worker), Arc::clone(place));
    let life = Rc::new(Life::default());
    let id = place.site.load().id;
    worker.shard.connection_opened(id);
    // At once: who is told to go may be told before the task has run.
    let key = worker.admit(id, &life);
    let told = Rc::clone(&life);
    tokio::task::spawn_local(async move {
        connection(&worker, &place, stream, from, life).await;
        worker.dismiss(key);
        worker.shard.connection_closed(id);
    });
    told
}

async fn connection(worker: &Rc<Worker>, place: &Arc<Place>, stream: TcpStream, from: SocketAddr, life: Rc<Life>) {
    let (id, listener) = {
        let site = place.site.load();
        (site.id, Arc::clone(&site.listener))
    };
    let _nagle = stream.set_nodelay(true);
    let mut stream = stream;
    let Ok(remote) = proxied(&listener, &mut stream, from).await else {
        worker.shard.proxy_refused(id);
        return;
    };
    let (stream, tls, alpn) = match place.tls.load_full() {
        None => (Stream::Clear(stream), None, None),
        Some(certificates) => {
            let accepting = tokio_rustls::TlsAcceptor::from(certificates.config()).accept(stream);
            let Ok(Ok(stream)) = tokio::time::timeout(listener.timeouts.tls, accepting).await else {
                worker.shard.tls_failed(id);
                return;
            };
            let (tls, alpn) = agreed(stream.get_ref().1);
            (Stream::Tls(Box::new(stream)), Some(tls), alpn)
        }
    };
    let Some(h2) = speaks_http2(&listener, &stream, alpn.as_deref()).await else { return };
    let connection = Rc::new(Connection {
        worker: Rc::clone(worker),
        place: Arc::clone(place),
        peer: Peer::new(&listener, remote.ip(), tls.is_some()),
        tls,
        life,
        requests: std::cell::Cell::new(0),
    });
    if h2 {
        protocol::h2::serve(connection, stream).await;
    } else {
        protocol::h1::serve(connection, stream).await;
    }
}

/// The client's address: the peer's, or what its PROXY header says (from trusted peers alone).
async fn proxied(listener: &Listener, stream: &mut TcpStream, from: SocketAddr) -> io::Result<SocketAddr> {
    if !listener.proxy_protocol {
        return Ok(from);
    }
    if !listener.trusts(from.ip()) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(opening::proxy_header(stream, listener.timeouts.header).await?.unwrap_or(from))
}

/// What the handshake came to: version and name, and the protocol by ALPN.
fn agreed(session: &rustls::ServerConnection) -> (Tls, Option<Vec<u8>>) {
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    };
    let tls = Tls { version, server_name: session.server_name().map(str::to_ascii_lowercase) };
    (tls, session.alpn_protocol().map(<[u8]>::to_vec))
}

/// HTTP/2 or HTTP/1? `None`: nothing that is spoken here.
async fn speaks_http2(listener: &Listener, stream: &Stream, alpn: Option<&[u8]>) -> Option<bool> {
    let spoken = listener.protocols;
    match (stream, alpn) {
        (Stream::Tls(_), Some(b"h2")) => Some(true),
        (Stream::Tls(_), Some(b"http/1.1") | None) => spoken.h1.then_some(false),
        // RFC 8737 §3: after a validation's handshake nothing follows.
        (Stream::Tls(_), Some(_)) => None,
        (Stream::Clear(_), _) if !spoken.h2c => Some(false),
        (Stream::Clear(_), _) if !spoken.h1 => Some(true),
        (Stream::Clear(socket), _) => opening::is_http2(socket, listener.timeouts.header).await.ok(),
    }
}
