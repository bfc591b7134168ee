//! One HTTP/1 connection: request after request, each judged from its raw head (RFC 9112), answered before the next.

pub(crate) mod body;
mod chunked;
mod head;
mod respond;
mod wire;

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use http::{Method, Request, Version};
use lb_message::Body;
use lb_model::http::Refusal;

use crate::clock;
use crate::connection::Connection;
use crate::interim::Interim;
use crate::listener::stream::Stream;
use crate::protocol::timer::Timer;
use crate::request::{self, Reply};
use crate::stage::Fault;
use body::{Raw, RequestBody};
use head::{Head, Limits};
use respond::{After, Asked};
use wire::Wire;

/// What is read of a body that nobody wanted, so that the connection can go on.
const DRAINED: u64 = 64 << 10;
/// How long, and how much, a client that is still sending is read after the last response: closing at once would make
/// its system throw the response away (RFC 9112 §9.6).
const LINGER: (Duration, u64) = (Duration::from_secs(2), 4 << 20);
/// An idle connection that is to go may send one more request within this: it then learns it from the response.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// Serves a connection to its end.
pub(crate) async fn serve(connection: Rc<Connection>, stream: Stream) {
    let site = connection.site();
    let limits = limits(&site.listener.limits);
    drop(site);
    let wire = Rc::new(Wire::new(stream, (limits.header, limits.fields)));
    let mut server =
        Server { connection, wire, timer: Timer::default(), out: Vec::new(), limits, interim: Arc::default() };
    server.run().await;
}

fn limits(of: &lb_model::http::ListenerLimits) -> Limits {
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Limits { header: size(of.header), fields: of.fields as usize, uri: size(of.uri) }
}

struct Server {
    connection: Rc<Connection>,
    wire: Rc<Wire>,
    timer: Timer,
    /// What is to be written; kept for its memory.
    out: Vec<u8>,
    limits: Limits,
    interim: Arc<Interim>,
}

/// Why no head came.
enum NoHead {
    /// The client is through, or was idle too long.
    End,
    Refused(Fault),
}

impl Server {
    async fn run(&mut self) {
        loop {
            let parsed = match self.head().await {
                Ok(bytes) => head::parse(&bytes, &self.limits),
                Err(NoHead::End) => break,
                Err(NoHead::Refused(fault)) => Err(fault),
            };
            let after = match parsed {
                Ok(head) => self.exchange(head).await,
                Err(fault) => {
                    self.wire.broken.set(true);
                    let reply = request::unreadable(&self.connection, &fault);
                    let asked = Asked {
                        version: Version::HTTP_11,
                        head: false,
                        keep_alive: false,
                        idle: Duration::from_secs(10),
                    };
                    self.respond(reply, asked).await
                }
            };
            match after {
                After::KeepAlive => {}
                After::Close => return self.linger().await,
                After::Tunnel | After::Broken => return,
            }
        }
        let _closed = poll_fn(|cx| self.wire.poll_shutdown(cx)).await;
    }

    /// The next head's bytes.
    async fn head(&mut self) -> Result<Bytes, NoHead> {
        let site = self.connection.site();
        let timeouts = site.listener.timeouts;
        drop(site);
        let began = clock::now();
        let mut idle_until = began + if self.connection.requests.get() == 0 { timeouts.header } else { timeouts.idle };
        let mut head_until: Option<Instant> = (!self.wire.input.borrow().is_empty()).then(|| began + timeouts.header);
        let mut seen = 0;
        let Self { connection, wire, timer, limits, .. } = self;
        poll_fn(|cx| {
            loop {
                {
                    let mut input = wire.input.borrow_mut();
                    // RFC 9112 §2.2: an empty line before the request line is overlooked.
                    while seen < 4 && input.starts_with(b"\r\n") {
                        input.advance(2);
                        seen = 0;
                    }
                    match head::end(&input, seen, limits) {
                        Ok(Some(end)) => return Poll::Ready(Ok(input.split_to(end).freeze())),
                        Ok(None) => seen = input.len(),
                        Err(fault) => return Poll::Ready(Err(NoHead::Refused(fault))),
                    }
                }
                match wire.poll_fill(cx) {
                    Poll::Ready(Ok(n)) if n > 0 => {
                        if head_until.is_none() {
                            head_until = Some(clock::now() + timeouts.header);
                        }
                        continue;
                    }
                    Poll::Ready(_) => return Poll::Ready(Err(NoHead::End)),
                    Poll::Pending => {}
                }
                if connection.life.is_going(cx) {
                    idle_until = idle_until.min(clock::now() + LAST_CHANCE);
                }
                let deadline = head_until.unwrap_or(idle_until);
                ready!(timer.poll(cx, deadline, began + timeouts.header));
                let slow = Fault::last(Refusal::ClientTimeout, "the request's head did not arrive in time");
                // A connection on which nothing was asked is closed without a word.
                return Poll::Ready(Err(if seen > 0 { NoHead::Refused(slow) } else { NoHead::End }));
            }
        })
        .await
    }

    async fn exchange(&mut self, head: Head) -> After {
        let Head { request, body, expects_continue, keep_alive } = head;
        let length = body.as_ref().and_then(chunked::Decoder::exact);
        let has_body = body.is_some();
        let turn = self.wire.begin(body, expects_continue);
        let body =
            if has_body { Body::boxed(RequestBody::new(Rc::clone(&self.wire), turn, length)) } else { Body::Empty };
        let asked = Asked {
            version: request.version(),
            head: request.method() == Method::HEAD,
            keep_alive,
            idle: self.connection.site().listener.timeouts.idle,
        };
        let mut request = request.map(|()| body);
        if asked.version == Version::HTTP_11 {
            request.extensions_mut().insert(Arc::clone(&self.interim));
        }
        // The client has gone: dropping the future ended what was asked of a backend.
        let Some(reply) = self.serve(request, asked.idle).await else { return After::Broken };
        let after = self.respond(reply, asked).await;
        if after == After::KeepAlive && !self.drained().await { After::Close } else { after }
    }

    /// The pipeline's reply; interim answers are passed on meanwhile. `None`: the client went.
    async fn serve(&mut self, request: Request<Body>, idle: Duration) -> Option<Reply> {
        let Self { connection, wire, interim, timer, out, .. } = self;
        let mut serving = pin!(request::serve(connection, request));
        loop {
            let step = poll_fn(|cx| {
                let reply = serving.as_mut().poll(cx);
                let answers = interim.take(cx);
                match reply {
                    Poll::Ready(reply) => return Poll::Ready((Some(reply), answers)),
                    Poll::Pending if !answers.is_empty() => return Poll::Ready((None, answers)),
                    Poll::Pending => {}
                }
                ready!(wire.poll_gone(cx));
                Poll::Ready((None, answers))
            });
            let (reply, answers) = step.await;
            if reply.is_none() && answers.is_empty() {
                return None;
            }
            for (status, fields) in answers {
                respond::interim(wire, status, &fields, idle, timer, out).await.ok()?;
            }
            if reply.is_some() {
                return reply;
            }
        }
    }

    async fn respond(&mut self, reply: Reply, asked: Asked) -> After {
        let date = self.connection.worker.date();
        let Reply { response, tunnel } = reply;
        let after = respond::send(&self.wire, response, asked, &date, &mut self.timer, &mut self.out).await;
        if self.out.capacity() > 16 << 10 {
            self.out = Vec::new();
        }
        if after == After::Tunnel
            && let Some(tunnel) = tunnel
        {
            tunnel.run(Raw(Rc::clone(&self.wire)), &self.connection).await;
        }
        after
    }

    /// Reads what is left of a request's body, if that is little and there at once.
    async fn drained(&mut self) -> bool {
        if self.wire.expected.get() && self.wire.body_pending() {
            return false;
        }
        if self.wire.body_pending() {
            // Whoever still reads it for a backend must not go on with what comes after a gap.
            self.wire.turn.set(self.wire.turn.get() + 1);
        }
        let mut read = 0;
        while self.wire.body_pending() && !self.wire.broken.get() {
            let piece = poll_fn(|cx| match self.wire.poll_body(cx) {
                Poll::Ready(piece) => Poll::Ready(Some(piece)),
                Poll::Pending => Poll::Ready(None),
            });
            match piece.await {
                Some(Ok(chunked::Decoded::Data(data))) => read += data.len() as u64,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return false,
            }
            if read > DRAINED {
                return false;
            }
        }
        !self.wire.broken.get()
    }

    /// Says that nothing more comes, and reads for a while.
    async fn linger(&mut self) {
        if poll_fn(|cx| self.wire.poll_shutdown(cx)).await.is_err() {
            return;
        }
        let until = clock::now() + LINGER.0;
        let Self { wire, timer, .. } = self;
        let mut read = 0;
        poll_fn(|cx| {
            loop {
                match wire.poll_fill(cx) {
                    Poll::Ready(Ok(n)) if n > 0 => {
                        read += n as u64;
                        wire.input.borrow_mut().clear();
                        if read > LINGER.1 {
                            return Poll::Ready(());
                        }
                    }
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return timer.poll(cx, until, until),
                }
            }
        })
        .await;
    }
}
