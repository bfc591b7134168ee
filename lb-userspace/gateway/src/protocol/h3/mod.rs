//! HTTP/3 (RFC 9114): a worker's UDP socket, its connections, and the requests of each.

mod body;
mod exchange;
mod frames;
mod quic;
mod settings;
mod stream;

use std::cell::Cell;
use std::future::poll_fn;
use std::net::UdpSocket;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h3::error::Code;
use h3::server::RequestResolver;
use quinn::VarInt;
use quinn::crypto::rustls::HandshakeData;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::connection::{Connection, Life, Tls};
use crate::listener::udp::Share;
use crate::snapshot::Place;
use crate::stage::forwarded::Peer;
use crate::worker::Worker;
use exchange::Ended;
use quic::{Quic, Sides};
use settings::Settings;

/// Handshakes under way at once on a socket before clients must show that they are where they say (RFC 9000 §8.1.2).
const UNPROVEN: usize = 100;
/// Requests that a client may take back within [`WINDOW`] before its connection ends.
const CANCELLED: u32 = 200;
const WINDOW: Duration = Duration::from_secs(10);
/// How long a connection that goes waits for the client to close it: what was not read yet is lost when we do.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a listener's HTTP/3 ends on a worker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    /// No further connections.
    pub accepting: CancellationToken,
    /// And those that are there end at once.
    pub all: CancellationToken,
}

/// What a listener's QUIC connections are counted under among those that can be sent away: apart from its others.
pub(crate) const fn life_of(listener: u32) -> u32 {
    listener | 1 << 31
}

/// Serves a worker's share of a listener until told to stop; connections go on after that.
pub(crate) async fn run(worker: Rc<Worker>, place: Arc<Place>, socket: UdpSocket, share: Share, stop: Stop) {
    let endpoint = match quinn::Endpoint::new(share.endpoint(), None, socket, Arc::new(quinn::TokioRuntime)) {
        Ok(endpoint) => endpoint,
        Err(e) => {
            tracing::error!("listener '{}': HTTP/3: {e}", place.site.load().listener.name);
            return;
        }
    };
    let mut settings = Settings::default();
    endpoint.set_server_config(settings.of(&place).map(|c| (*c).clone()));
    let handshakes = Rc::new(Cell::new(0usize));
    loop {
        let incoming = tokio::select! {
            biased;
            () = stop.accepting.cancelled() => break,
            () = stop.all.cancelled() => break,
            incoming = endpoint.accept() => incoming,
        };
        let (Some(incoming), Some(config)) = (incoming, settings.of(&place)) else { continue };
        if handshakes.get() >= UNPROVEN && incoming.may_retry() {
            let _too_late = incoming.retry();
            continue;
        }
        let Ok(connecting) = incoming.accept_with(config) else { continue };
        let (worker, place, handshakes) = (Rc::clone(&worker), Arc::clone(&place), Rc::clone(&handshakes));
        handshakes.set(handshakes.get() + 1);
        tokio::task::spawn_local(begin(worker, place, connecting, handshakes));
    }
    endpoint.set_server_config(None);
    tokio::select! {
        () = stop.all.cancelled() => endpoint.close(code(Code::H3_NO_ERROR), b"another process takes over"),
        () = endpoint.wait_idle() => {}
    }
}

async fn begin(worker: Rc<Worker>, place: Arc<Place>, connecting: quinn::Connecting, handshakes: Rc<Cell<usize>>) {
    let site = place.site.load_full();
    let (id, listener) = (site.id, Arc::clone(&site.listener));
    drop(site);
    worker.shard.connection_opened(id);
    let life = Rc::new(Life::default());
    let key = worker.admit(life_of(id), &life);
    let shaken = tokio::time::timeout(listener.timeouts.tls, connecting).await;
    handshakes.set(handshakes.get().saturating_sub(1));
    if let Ok(Ok(quic)) = shaken {
        let server_name = quic
            .handshake_data()
            .and_then(|d| d.downcast::<HandshakeData>().ok())
            .and_then(|d| d.server_name)
            .map(|n| n.to_ascii_lowercase());
        let remote = quic.remote_address();
        let connection = Rc::new(Connection {
            worker: Rc::clone(&worker),
            place,
            peer: Peer::new(&listener, remote.ip(), true),
            tls: Some(Tls { version: "TLSv1.3", server_name }),
            life,
            requests: Cell::new(0),
        });
        serve(connection, quic).await;
    } else {
        worker.shard.tls_failed(id);
    }
    worker.dismiss(key);
    worker.shard.connection_closed(id);
}

type H3 = h3::server::Connection<Quic, Bytes>;

async fn serve(connection: Rc<Connection>, quic: quinn::Connection) {
    let site = connection.site();
    let (limits, timeouts) = (site.listener.limits, site.listener.timeouts);
    drop(site);
    // Encoded, a head is hardly larger than decoded; a bit beyond the limit it still gets an answer in words.
    let (under, sides) = Quic::new(quic.clone(), limits.header.saturating_mul(2));
    let mut builder = h3::server::builder();
    builder.max_field_section_size(limits.header.saturating_mul(2)).send_grease(false);
    let Ok(mut h3) = builder.build::<Quic, Bytes>(under).await else { return };
    let mut requests: JoinSet<Ended> = JoinSet::new();
    let mut breach = Breach::default();
    loop {
        match next(&connection, &mut h3, &mut requests, timeouts.idle).await {
            Next::Request(resolver) => take(&connection, &sides, *resolver, &mut requests),
            Next::Ended(ended) => {
                if ended == Ended::Cancelled && breach.is_one(clock::now()) {
                    quic.close(code(Code::H3_EXCESSIVE_LOAD), b"too many requests were taken back");
                    return;
                }
                let most = limits.requests_per_connection;
                if most > 0 && connection.requests.get() >= most {
                    break;
                }
            }
            Next::Go => break,
            Next::Closed => return,
        }
    }
    farewell(&connection, &sides, h3, requests, &quic).await;
}

/// Tells the client to go (RFC 9114 §5.2), and sees to what it asked before it heard.
async fn farewell(
    connection: &Rc<Connection>,
    sides: &Sides,
    mut h3: H3,
    mut requests: JoinSet<Ended>,
    quic: &quinn::Connection,
) {
    let on_the_way = connection.site().listener.limits.streams as usize;
    if h3.shutdown(on_the_way).await.is_err() {
        return;
    }
    loop {
        let quiet = requests.is_empty();
        let next = tokio::select! {
            () = connection.life.cut.cancelled() => break,
            // The client has all answers; it may close first, or have asked for one more.
            () = tokio::time::sleep(FAREWELL), if quiet => break,
            next = event(&mut h3, &mut requests) => next,
        };
        match next {
            Next::Request(resolver) => take(connection, sides, *resolver, &mut requests),
            Next::Ended(_) | Next::Go => {}
            Next::Closed => return,
        }
    }
    quic.close(code(Code::H3_NO_ERROR), b"");
}

fn take(
    connection: &Rc<Connection>,
    sides: &Sides,
    resolver: RequestResolver<Quic, Bytes>,
    requests: &mut JoinSet<Ended>,
) {
    let number = resolver.frame_stream.id().into_inner();
    let mut sides = sides.borrow_mut();
    let side = sides.remove(&number);
    // Numbers rise: streams before it that nobody took were refused.
    *sides = sides.split_off(&number);
    if let Some(side) = side {
        requests.spawn_local(exchange::run(Rc::clone(connection), resolver, side));
    }
}

enum Next {
    Request(Box<RequestResolver<Quic, Bytes>>),
    Ended(Ended),
    /// It is to go: told so, or idle too long.
    Go,
    Closed,
}

async fn next(connection: &Connection, h3: &mut H3, requests: &mut JoinSet<Ended>, idle: Duration) -> Next {
    let quiet = requests.is_empty();
    let mut silence = pin!(tokio::time::sleep(idle));
    let told = poll_fn(|cx| if connection.life.is_going(cx) { Poll::Ready(()) } else { Poll::Pending });
    tokio::select! {
        () = told => Next::Go,
        next = event(h3, requests) => next,
        () = &mut silence, if quiet => Next::Go,
    }
}

async fn event(h3: &mut H3, requests: &mut JoinSet<Ended>) -> Next {
    tokio::select! {
        Some(ended) = requests.join_next() => Next::Ended(ended.unwrap_or(Ended::Cancelled)),
        accepted = h3.accept() => match accepted {
            Ok(Some(resolver)) => Next::Request(Box::new(resolver)),
            Ok(None) | Err(_) => Next::Closed,
        },
    }
}

/// Requests taken back lately (as in HTTP/2's "rapid reset").
#[derive(Debug, Default)]
struct Breach {
    since: Option<Instant>,
    count: u32,
}

impl Breach {
    /// One more.
    fn is_one(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) > WINDOW) {
            *self = Self { since: Some(now), count: 0 };
        }
        self.count += 1;
        self.count > CANCELLED
    }
}

fn code(code: Code) -> VarInt {
    VarInt::from_u64(code.value()).unwrap_or(VarInt::MAX)
}
