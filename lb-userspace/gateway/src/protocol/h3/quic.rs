//! quinn under h3: streams whose frames are filtered and bounded, and word of a client that has lost interest.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use lb_model::http::Refusal;
use quinn::{ReadError, VarInt, WriteError};

use super::frames::{self, Filter};
use crate::stage::Fault;

/// Bytes read at once.
const CHUNK: usize = 32 << 10;
/// Bytes of a frame on the control stream.
const CONTROL: u64 = 16 << 10;

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
                Poll::Ready(Ok(Both { send: Send::new(send), receive: Receive::new(receive, frames, Some(side)) }))
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

/// A request's stream.
pub(crate) struct Both {
    send: Send,
    receive: Receive,
}

impl quic::BidiStream<Bytes> for Both {
    type SendStream = Send;
    type RecvStream = Receive;
    fn split(self) -> (Send, Receive) {
        (self.send, self.receive)
    }
}

impl quic::RecvStream for Both {
    type Buf = Bytes;
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.receive.poll_data(cx)
    }
    fn stop_sending(&mut self, code: u64) {
        self.receive.stop_sending(code);
    }
    fn recv_id(&self) -> StreamId {
        self.receive.recv_id()
    }
}

impl quic::SendStream<Bytes> for Both {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_ready(cx)
    }
    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_finish(cx)
    }
    fn reset(&mut self, code: u64) {
        self.send.reset(code);
    }
    fn send_id(&self) -> StreamId {
        self.send.send_id()
    }
}

/// What a stream's bytes are.
enum Frames {
    /// A unidirectional stream whose type is not known yet (RFC 9114 §6.2).
    Type(Vec<u8>),
    /// The client's control stream.
    Control(Filter),
    Request(Filter),
    /// QPACK's, of which h3 reads nothing that grows, and others, which it stops.
    Raw,
}

pub(crate) struct Receive {
    stream: quinn::RecvStream,
    frames: Frames,
    side: Option<Rc<Side>>,
    buffer: BytesMut,
    ended: bool,
}

impl Receive {
    fn new(stream: quinn::RecvStream, frames: Frames, side: Option<Rc<Side>>) -> Self {
        Self { stream, frames, side, buffer: BytesMut::new(), ended: false }
    }

    fn take(&mut self, bytes: Bytes) -> Result<Option<Bytes>, StreamErrorIncoming> {
        match &mut self.frames {
            Frames::Raw => Ok(Some(bytes)),
            Frames::Type(seen) => {
                // All types that matter fit in one byte; h3 reads longer ones by itself.
                seen.push(bytes[0]);
                if bytes[0] != 0 {
                    self.frames = Frames::Raw;
                    return Ok(Some(bytes));
                }
                let mut filter = Filter::new(CONTROL);
                filter.push(bytes.slice(1..)).map_err(|_| too_large())?;
                self.frames = Frames::Control(filter);
                Ok(Some(bytes.slice(..1)))
            }
            Frames::Control(filter) => filter.push(bytes).map(|()| None).map_err(|_| too_large()),
            Frames::Request(filter) => match (filter.push(bytes), &self.side) {
                (Ok(()), _) => Ok(None),
                (Err(frames::Fault::HeadTooLarge), Some(side)) => {
                    side.refused.set(Some(HEAD_TOO_LARGE));
                    Ok(None)
                }
                (Err(_), _) => Err(too_large()),
            },
        }
    }

    fn filter(&mut self) -> Option<&mut Filter> {
        match &mut self.frames {
            Frames::Control(filter) | Frames::Request(filter) => Some(filter),
            Frames::Type(_) | Frames::Raw => None,
        }
    }
}

fn too_large() -> StreamErrorIncoming {
    StreamErrorIncoming::StreamTerminated { error_code: Code::H3_EXCESSIVE_LOAD.value() }
}

impl quic::RecvStream for Receive {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        loop {
            let given_up = self.side.as_ref().is_some_and(|s| s.refused.get().is_some());
            if let Some(filter) = self.filter() {
                if given_up {
                    filter.stand_in();
                }
                if let Some(piece) = filter.next() {
                    return Poll::Ready(Ok(Some(piece)));
                }
                if filter.is_over() {
                    return Poll::Ready(Ok(None));
                }
            }
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            self.buffer.reserve(CHUNK);
            let read = tokio_util::io::poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.buffer);
            match ready!(read) {
                Ok(0) => {
                    self.ended = true;
                    if let Some(filter) = self.filter() {
                        filter.end();
                    }
                }
                Ok(_) => {
                    let bytes = self.buffer.split().freeze();
                    if let Some(piece) = self.take(bytes)? {
                        return Poll::Ready(Ok(Some(piece)));
                    }
                }
                Err(e) => return Poll::Ready(Err(broken(e))),
            }
        }
    }

    fn stop_sending(&mut self, code: u64) {
        let _ended_already = self.stream.stop(number(code));
    }

    fn recv_id(&self) -> StreamId {
        identity(self.stream.id())
    }
}

pub(crate) struct Send {
    stream: quinn::SendStream,
    writing: Option<WriteBuf<Bytes>>,
}

impl Send {
    fn new(stream: quinn::SendStream) -> Self {
        Self { stream, writing: None }
    }
}

impl quic::SendStream<Bytes> for Send {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if let Some(data) = &mut self.writing {
            while data.has_remaining() {
                let written = ready!(Pin::new(&mut self.stream).poll_write(cx, data.chunk())).map_err(unsent)?;
                data.advance(written);
            }
        }
        self.writing = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.writing.is_some() {
            return Err(StreamErrorIncoming::Unknown("what was sent before is still under way".into()));
        }
        self.writing = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        Poll::Ready(self.stream.finish().map_err(|e| StreamErrorIncoming::Unknown(Box::new(e))))
    }

    fn reset(&mut self, code: u64) {
        let _ended_already = self.stream.reset(number(code));
    }

    fn send_id(&self) -> StreamId {
        identity(self.stream.id())
    }
}

fn number(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

fn identity(id: quinn::StreamId) -> StreamId {
    StreamId::try_from(VarInt::from(id).into_inner()).expect("a number that QUIC can write")
}

fn lost(error: quinn::ConnectionError) -> ConnectionErrorIncoming {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: close.error_code.into_inner() }
        }
        quinn::ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        other => ConnectionErrorIncoming::Undefined(Arc::new(other)),
    }
}

fn broken(error: std::io::Error) -> StreamErrorIncoming {
    match error.downcast::<ReadError>() {
        Ok(ReadError::Reset(code)) => StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() },
        Ok(ReadError::ConnectionLost(e)) => StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(e) },
        Ok(other) => StreamErrorIncoming::Unknown(Box::new(other)),
        Err(other) => StreamErrorIncoming::Unknown(Box::new(other)),
    }
}

fn unsent(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() },
        WriteError::ConnectionLost(e) => StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(e) },
        other => StreamErrorIncoming::Unknown(Box::new(other)),
    }
}
