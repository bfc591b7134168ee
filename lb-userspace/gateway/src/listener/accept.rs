//! A worker's share of a listener: connections are accepted, made ready (PROXY header, TLS) and given to a protocol.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::connection::{Connection, Life, Tls};
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
            Ok((stream, from)) => begin(&worker, &place, stream, from),
            Err(e) if is_of_one_connection(&e) => {}
            Err(e) => {
                tracing::warn!("listener '{}': accept: {e}", place.site.load().listener.name);
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    // Another socket of this address may be open, here or in another process; these clients are this one's.
    while let Some(Ok((stream, from))) = futures_util::FutureExt::now_or_never(socket.accept()) {
        begin(&worker, &place, stream, from);
    }
}

fn is_of_one_connection(e: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(e.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn begin(worker: &Rc<Worker>, place: &Arc<Place>, stream: TcpStream, from: SocketAddr) {
    let (worker, place) = (Rc::clone(worker), Arc::clone(place));
    let life = Rc::new(Life::default());
    tokio::task::spawn_local(async move {
        let site = place.site.load_full();
        let id = site.id;
        worker.shard.connection_opened(id);
        let key = worker.admit(id, &life);
        drop(site);
        connection(&worker, &place, stream, from, life).await;
        worker.dismiss(key);
        worker.shard.connection_closed(id);
    });
}

async fn connection(worker: &Rc<Worker>, place: &Arc<Place>, stream: TcpStream, from: SocketAddr, life: Rc<Life>) {
    let site = place.site.load_full();
    let listener = Arc::clone(&site.listener);
    let id = site.id;
    drop(site);
    let _ = stream.set_nodelay(true);
    let remote = from;
    let (stream, tls, h2) = match place.tls.load_full() {
        None => (Stream::Clear(stream), None, false),
        Some(certificates) => {
            let accepting = tokio_rustls::TlsAcceptor::from(certificates.config()).accept(stream);
            let Ok(Ok(stream)) = tokio::time::timeout(listener.timeouts.tls, accepting).await else {
                worker.shard.tls_failed(id);
                return;
            };
            let session = stream.get_ref().1;
            let alpn = session.alpn_protocol();
            if alpn == Some(lb_certs::ACME_TLS_ALPN) {
                return;
            }
            let h2 = alpn == Some(b"h2");
            let version = match session.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            };
            let tls = Tls { version, server_name: session.server_name().map(str::to_ascii_lowercase) };
            (Stream::Tls(Box::new(stream)), Some(tls), h2)
        }
    };
    let connection = Rc::new(Connection {
        worker: Rc::clone(worker),
        place: Arc::clone(place),
        peer: Peer::new(&listener, remote.ip(), tls.is_some()),
        remote,
        tls,
        life,
        requests: std::cell::Cell::new(0),
    });
    let _ = h2;
    protocol::h1::serve(connection, stream, BytesMut::new()).await;
}
