//! A connection's life between client and backend: both directions, half-closed, reset or timed out.

use std::future::{Future, poll_fn};
use std::os::fd::AsFd;
use std::pin::pin;
use std::task::{Context, Poll};

use lb_common::flow::state;
use lb_model::SendProxy;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::conns::{Conn, Signal};
use super::pump::{Broken, Pump};
use super::tcp::{Here, reset};
use super::{proxy_header, sys};

/// How a phase of the connection ended.
enum End {
    /// One direction has ended, the other goes on.
    HalfClosed,
    /// Both have ended.
    Closed,
    /// One end has reset, or both are to be.
    Reset,
}

struct Relay<'a> {
    here: &'a Here,
    conn: &'a Conn,
    client: &'a TcpStream,
    server: &'a TcpStream,
    /// Client to backend.
    up: Pump,
    down: Pump,
    up_done: bool,
    down_done: bool,
    /// One side has reset; what the other had sent before still goes through.
    broken: bool,
}

/// Carries the connection to its end.
pub(super) async fn run(here: &Here, conn: &Conn, client: TcpStream, server: TcpStream, send_proxy: Option<SendProxy>) {
    let prefix = send_proxy.map(|v| proxy_header::header(v, conn.client, conn.vip)).unwrap_or_default();
    let end = {
        let mut relay = Relay {
            here,
            conn,
            client: &client,
            server: &server,
            up: Pump::to_fresh(prefix),
            down: Pump::default(),
            up_done: false,
            down_done: false,
            broken: false,
        };
        match poll_fn(|cx| relay.poll(cx)).await {
            End::HalfClosed => relay.second_half().await,
            other => other,
        }
    };
    account(conn, &client);
    if matches!(end, End::Reset) {
        reset(client);
        reset(server);
    }
}

impl Relay<'_> {
    /// The side that has sent its FIN is no longer read, so a reset from it is watched for.
    async fn second_half(&mut self) -> End {
        self.conn.set_state(state::HALF_CLOSED);
        let silent = if self.up_done { self.client } else { self.server };
        let mut gone = pin!(silent.ready(Interest::ERROR));
        poll_fn(|cx| {
            if gone.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Reset);
            }
            match self.poll(cx) {
                Poll::Ready(End::HalfClosed) => Poll::Pending,
                other => other,
            }
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        match self.conn.signal(cx.waker()) {
            Some(Signal::Over) => return Poll::Ready(End::Reset),
            Some(Signal::Idle | Signal::TimedOut) => return Poll::Ready(End::Closed),
            None => {}
        }
        let was_half = self.up_done || self.down_done;
        (self.up.last, self.down.last) = (self.down_done, self.up_done);
        if !self.up_done {
            let seen = &mut |n| {
                self.conn.add(1, n as u64 + headers(self.conn));
                self.conn.touch(self.here.own.now.millis());
            };
            match self.up.poll(cx, self.client, self.server, seen) {
                Poll::Ready(Err(Broken::Source)) => return Poll::Ready(End::Reset),
                Poll::Ready(done) => (self.up_done, self.broken) = (true, self.broken | done.is_err()),
                Poll::Pending => {}
            }
        }
        if !self.down_done {
            let seen = &mut |_| self.conn.touch(self.here.own.now.millis());
            match self.down.poll(cx, self.server, self.client, seen) {
                Poll::Ready(Err(Broken::Source)) => return Poll::Ready(End::Reset),
                Poll::Ready(done) => (self.down_done, self.broken) = (true, self.broken | done.is_err()),
                Poll::Pending => {}
            }
        }
        match (self.up_done, self.down_done) {
            (true, true) if self.broken => Poll::Ready(End::Reset),
            (true, true) => Poll::Ready(End::Closed),
            (false, false) => Poll::Pending,
            _ if was_half => Poll::Pending,
            _ => Poll::Ready(End::HalfClosed),
        }
    }
}

/// Bytes of headers of a segment with timestamps, the kernel's default.
fn headers(conn: &Conn) -> u64 {
    if conn.client.is_ipv4() { 20 + 32 } else { 40 + 32 }
}

/// Brings the counts from reads, each taken for a packet on the way, to packets and layer-3 bytes as far as the kernel
/// says: it counts the client's segments; headers are taken without options other than timestamps.
fn account(conn: &Conn, client: &TcpStream) {
    use std::sync::atomic::Ordering::Relaxed;
    let reads = conn.packets.load(Relaxed);
    let Some(received) = sys::received(client.as_fd()) else { return };
    let packets = received.segments.max(reads);
    let of_each = if received.timestamps { headers(conn) } else { headers(conn) - 12 };
    conn.add(packets - reads, (packets * of_each).saturating_sub(reads * headers(conn)));
}
