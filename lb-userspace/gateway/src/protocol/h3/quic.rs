//! quinn's connections under h3, and word of clients that have lost interest.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming};
use lb_model::http::Refusal;

use super::frames::Filter;
use super::stream::{Both, Frames, Receive, Send, number};
use crate::stage::Fault;

pub(crate) const HEAD_TOO_LARGE: Fault =
    Fault::last(Refusal::HeadersTooLarge, "the request's head is larger than is taken here");

type Endless<T> = Pin<Box<dyn Stream<Item = T>>>;
type Opened<T> = Result<T, quinn::ConnectionError>;

/// What is known of a request's stream beside its bytes.
pub(crate) struct Side {
    /// A stand-in came instead of the request's head, for this reason.
    pub(crate) refused: Cell<Option<Fault>>,
    stopped: RefCell<Pin<Box<dyn Future<Output = ()>>>>,
    over: Cell<bool>,
}

impl Side {
    /// The client wants no (further) response, has all of it, or is gone.
    pub(crate) fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.over.get() {
            ready!(self.stopped.borrow_mut().as_mut().poll(cx));
            self.over.set(true);
        }
        Poll::Ready(())
    }
}

/// Streams that the client opened, by number, until somebody takes them.
pub(crate) type Sides = Rc<RefCell<BTreeMap<u64, Rc<Side>>>>;

pub(crate) struct Quic {
    connection: quinn::Connection,
    bidirectional: Endless<Opened<(quinn::SendStream, quinn::RecvStream)>>,
    unidirectional: Endless<Opened<quinn::RecvStream>>,
    opener: Opener,
    sides: Sides,
    limit: u64,
}

impl Quic {
    /// `limit`: bytes of a head, as it is encoded.
    pub(crate) fn new(connection: quinn::Connection, limit: u64) -> (Self, Sides) {
        let sides = Sides::default();
        let quic = Self {
            bidirectional: Box::pin(stream::unfold(connection.clone(), |c| async { Some((c.accept_bi().await, c)) })),
            unidirectional: Box::pin(stream::unfold(connection.clone(), |c| async { Some((c.accept_uni().await, c)) })),
            opener: Opener::new(connection.clone()),
            connection,
            sides: Rc::clone(&sides),
            limit,
        };
        (quic, sides)
    }
}

impl quic::Connection<Bytes> for Quic {
    type RecvStream = Receive;
    type OpenStreams = Opener;

    fn poll_accept_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Receive, ConnectionErrorIncoming>> {
        match ready!(self.unidirectional.as_mut().poll_next(cx)) {
            Some(Ok(stream)) => Poll::Ready(Ok(Receive::new(stream, Frames::Type(Vec::new()), None))),
            Some(Err(e)) => Poll::Ready(Err(lost(e))),
            None => Poll::Pending,
        }
    }

    fn poll_accept_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Both, ConnectionErrorIncoming>> {
        match ready!(self.bidirectional.as_mut().poll_next(cx)) {
            Some(Ok((send, receive))) => {
                let stopped = send.stopped();
                let side = Rc::new(Side {
                    refused: Cell::new(None),
                    stopped: RefCell::new(Box::pin(async move {
                        let _why = stopped.await;
                    })),
                    over: Cell::new(false),
                });
                self.sides.borrow_mut().insert(receive.id().into(), Rc::clone(&side));
                let frames = Frames::Request(Filter::new(self.limit));
                Poll::Ready(Ok(Both::new(Send::new(send), Receive::new(receive, frames, Some(side)))))
            }
            Some(Err(e)) => Poll::Ready(Err(lost(e))),
            None => Poll::Pending,
        }
    }

    fn opener(&self) -> Opener {
        Opener::new(self.connection.clone())
    }
}

impl quic::OpenStreams<Bytes> for Quic {
    type BidiStream = Both;
    type SendStream = Send;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Both, StreamErrorIncoming>> {
        self.opener.poll_open_bidi(cx)
    }
    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<Send, StreamErrorIncoming>> {
        self.opener.poll_open_send(cx)
    }
    fn close(&mut self, code: Code, reason: &[u8]) {
        self.opener.close(code, reason);
    }
}

/// A server opens its control stream and QPACK's, all unidirectional.
pub(crate) struct Opener {
    connection: quinn::Connection,
    opening: Endless<Opened<quinn::SendStream>>,
}

impl Opener {
    fn new(connection: quinn::Connection) -> Self {
        let opening = Box::pin(stream::unfold(connection.clone(), |c| async { Some((c.open_uni().await, c)) }));
        Self { connection, opening }
    }
}

impl quic::OpenStreams<Bytes> for Opener {
    type BidiStream = Both;
    type SendStream = Send;

    fn poll_open_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<Both, StreamErrorIncoming>> {
        // RFC 9114 §6.1: servers open none.
        Poll::Ready(Err(StreamErrorIncoming::Unknown("a server opens no request".into())))
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<Send, StreamErrorIncoming>> {
        match ready!(self.opening.as_mut().poll_next(cx)) {
            Some(Ok(stream)) => Poll::Ready(Ok(Send::new(stream))),
            Some(Err(e)) => {
                Poll::Ready(Err(StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(e) }))
            }
            None => Poll::Pending,
        }
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.connection.close(number(code.value()), reason);
    }
}

pub(super) fn lost(error: quinn::ConnectionError) -> ConnectionErrorIncoming {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: close.error_code.into_inner() }
        }
        quinn::ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        other => ConnectionErrorIncoming::Undefined(Arc::new(other)),
    }
}
