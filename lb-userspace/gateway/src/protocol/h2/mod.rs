//! One HTTP/2 connection (RFC 9113): streams are taken, each served by a task of its own, and abuse ends the connection.

mod body;
mod stream;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::Request;

use crate::clock;
use crate::connection::Connection;
use crate::listener::stream::Stream;
use crate::protocol::timer::Timer;

/// Flow-control windows: what a client may have under way to us. The connection's bounds the memory.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of a response that may wait for the client's window.
const SEND_BUFFER: usize = 128 << 10;
/// Streams that a client may take back within [`RESETS_IN`] (CVE-2023-44487).
const RESETS: u32 = 100;
const RESETS_IN: Duration = Duration::from_secs(10);
/// Streams that we end for the client's mistakes (CVE-2025-8671), and that it takes back before we saw them.
const OWN_RESETS: usize = 50;
const UNSEEN_RESETS: usize = 20;
/// A client that does not answer a ping for so long is gone.
const PING: Duration = Duration::from_secs(30);
/// A client without streams that does not go within this is left.
const FAREWELL: Duration = Duration::from_secs(2);
/// h2 answers larger heads itself, without a document; up to this many times the limit the pipeline does.
const HEADROOM: u64 = 2;

type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

/// Streams that the client took back, counted by their tasks.
#[derive(Debug, Default)]
struct Resets {
    /// Since when, how many.
    window: Cell<Option<(Instant, u32)>>,
}

impl Resets {
    fn count(&self, now: Instant) {
        let next = match self.window.get() {
            Some((since, n)) if now.saturating_duration_since(since) < RESETS_IN => (since, n + 1),
            _ => (now, 1),
        };
        self.window.set(Some(next));
    }

    fn are_too_many(&self) -> bool {
        self.window.get().is_some_and(|(_, n)| n > RESETS)
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve(connection: Rc<Connection>, stream: Stream) {
    let (limits, timeouts) = {
        let site = connection.site();
        (site.listener.limits, site.listener.timeouts)
    };
    let header = u32::try_from(limits.header.saturating_mul(HEADROOM)).unwrap_or(u32::MAX);
    let handshake = Builder::new()
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(header)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(UNSEEN_RESETS)
        .max_local_error_reset_streams(Some(OWN_RESETS))
        .enable_connect_protocol()
        .handshake(stream);
    let Ok(Ok(mut h2)) = tokio::time::timeout(timeouts.header, handshake).await else { return };
    let pings = h2.ping_pong();
    let mut server = Server {
        resets: Rc::default(),
        timer: Timer::default(),
        until: clock::now() + timeouts.idle.min(PING),
        heard: clock::now(),
        idle: timeouts.idle,
        going: false,
        pulse: Pulse { pings: RefCell::new(pings), waiting: false },
        connection,
    };
    while let Some(Ok((request, respond))) = poll_fn(|cx| server.poll_next(&mut h2, cx)).await {
        let (connection, resets) = (Rc::clone(&server.connection), Rc::clone(&server.resets));
        tokio::task::spawn_local(stream::serve(connection, resets, request, respond));
        let served = server.connection.requests.get();
        if limits.requests_per_connection > 0 && served + 1 >= limits.requests_per_connection {
            server.leave(&mut h2);
        }
    }
}

struct Server {
    connection: Rc<Connection>,
    resets: Rc<Resets>,
    timer: Timer,
    /// When to look whether anything still goes on.
    until: Instant,
    /// When the last request came.
    heard: Instant,
    idle: Duration,
    going: bool,
    pulse: Pulse,
}

/// Is the client still there?
struct Pulse {
    pings: RefCell<Option<PingPong>>,
    waiting: bool,
}

impl Server {
    fn poll_next(
        &mut self,
        h2: &mut h2::server::Connection<Stream, Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Accepted, h2::Error>>> {
        if self.connection.life.is_going(cx) {
            self.leave(h2);
        }
        if self.resets.are_too_many() {
            h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        }
        if let Poll::Ready(next) = h2.poll_accept(cx) {
            self.heard = clock::now();
            if !self.going {
                self.until = self.heard + self.idle.min(PING);
            }
            return Poll::Ready(next);
        }
        self.pulse.heard(cx);
        while self.timer.poll(cx, self.until, self.until).is_ready() {
            self.look(h2, clock::now());
            // What was just said has to go out.
            if let Poll::Ready(next) = h2.poll_accept(cx) {
                return Poll::Ready(next);
            }
        }
        Poll::Pending
    }

    /// Time is up: is the client still there, and does anything go on?
    fn look(&mut self, h2: &mut h2::server::Connection<Stream, Bytes>, now: Instant) {
        if h2.has_streams() && self.pulse.waiting || !h2.has_streams() && self.going {
            h2.abrupt_shutdown(Reason::NO_ERROR);
            self.until = now + PING;
        } else if h2.has_streams() {
            self.pulse.ask();
            self.until = now + PING;
        } else if now.saturating_duration_since(self.heard) < self.idle {
            self.until = self.heard + self.idle;
        } else {
            self.leave(h2);
        }
    }

    /// GOAWAY: streams that are open are served, new ones are for another connection.
    fn leave(&mut self, h2: &mut h2::server::Connection<Stream, Bytes>) {
        if !std::mem::replace(&mut self.going, true) {
            h2.graceful_shutdown();
            self.until = clock::now() + FAREWELL;
        }
    }
}

impl Pulse {
    fn ask(&mut self) {
        if let Some(pings) = self.pings.borrow_mut().as_mut() {
            self.waiting = pings.send_ping(Ping::opaque()).is_ok();
        }
    }

    fn heard(&mut self, cx: &mut Context<'_>) {
        if self.waiting
            && let Some(pings) = self.pings.borrow_mut().as_mut()
            && pings.poll_pong(cx).is_ready()
        {
            self.waiting = false;
        }
    }
}
