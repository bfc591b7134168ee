//! quinn's streams under h3: frames are filtered and bounded on their way in.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use h3::error::Code;
use h3::quic::{self, StreamErrorIncoming, StreamId, WriteBuf};
use quinn::{ReadError, VarInt, WriteError};

use super::frames::{self, Filter};
use super::quic::{HEAD_TOO_LARGE, Side, lost};

/// Bytes read at once.
const CHUNK: usize = 32 << 10;
/// Bytes of a frame on the control stream.
const CONTROL: u64 = 16 << 10;

/// A request's stream.
pub(crate) struct Both {
    send: Send,
    receive: Receive,
}

impl Both {
    pub(super) fn new(send: Send, receive: Receive) -> Self {
        Self { send, receive }
    }
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
pub(super) enum Frames {
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
    pub(super) fn new(stream: quinn::RecvStream, frames: Frames, side: Option<Rc<Side>>) -> Self {
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
    pub(super) fn new(stream: quinn::SendStream) -> Self {
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

pub(super) fn number(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

fn identity(id: quinn::StreamId) -> StreamId {
    StreamId::try_from(VarInt::from(id).into_inner()).expect("a number that QUIC can write")
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
