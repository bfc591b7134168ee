//! The socket of an HTTP/1 connection and what has been read from it, shared by the connection's task and the body that
//! a backend's task reads.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead as _, AsyncWrite as _};
use tokio_util::io::poll_read_buf;

use super::chunked::{Broken, Decoded, Decoder};
use crate::listener::stream::Stream;

/// Bytes asked for in one read, at first and at most.
const READ: (usize, usize) = (8 << 10, 128 << 10);

#[derive(Debug)]
pub(crate) struct Wire {
    stream: RefCell<Stream>,
    /// Read and not yet understood.
    pub(crate) input: RefCell<BytesMut>,
    chunk: Cell<usize>,
    /// The request's body, as far as it is still to come.
    decoder: RefCell<Option<Decoder>>,
    /// Told when the body is through: the connection's task then watches for the client's going.
    owner: RefCell<Option<Waker>>,
    /// The body's framing broke: nothing that follows can be understood.
    pub(crate) broken: Cell<bool>,
    /// The client closed its side within a body.
    gone: Cell<bool>,
    /// `100 Continue` is to be sent once somebody wants the body.
    pub(crate) expected: Cell<bool>,
    /// Bytes and fields of a trailer section.
    trailers: (usize, usize),
    /// Which request of the connection; a body of an earlier one reads nothing.
    pub(crate) turn: Cell<u64>,
}

impl Wire {
    pub(crate) fn new(stream: Stream, trailers: (usize, usize)) -> Self {
        Self {
            stream: RefCell::new(stream),
            input: RefCell::new(BytesMut::new()),
            chunk: Cell::new(READ.0),
            decoder: RefCell::new(None),
            owner: RefCell::new(None),
            broken: Cell::new(false),
            gone: Cell::new(false),
            expected: Cell::new(false),
            trailers,
            turn: Cell::new(0),
        }
    }

    /// A request begins. Returns its turn.
    pub(crate) fn begin(&self, body: Option<Decoder>, expects_continue: bool) -> u64 {
        *self.decoder.borrow_mut() = body;
        self.expected.set(expects_continue);
        let turn = self.turn.get() + 1;
        self.turn.set(turn);
        turn
    }

    /// Reads more; 0: the client has sent its last byte.
    pub(crate) fn poll_fill(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut input = self.input.borrow_mut();
        // A connection that says nothing has no buffer.
        if input.capacity() == 0
            && let Some(socket) = self.stream.borrow().clear()
        {
            ready!(socket.poll_read_ready(cx))?;
        }
        let chunk = self.chunk.get();
        if input.capacity() - input.len() < chunk / 2 {
            input.reserve(chunk);
        }
        let room = input.capacity() - input.len();
        let read = ready!(poll_read_buf(Pin::new(&mut *self.stream.borrow_mut()), cx, &mut *input))?;
        if read == room && chunk < READ.1 {
            self.chunk.set(chunk * 2);
        }
        Poll::Ready(Ok(read))
    }

    pub(crate) fn body_pending(&self) -> bool {
        self.decoder.borrow().is_some()
    }

    /// The next piece of the body.
    pub(crate) fn poll_body(&self, cx: &mut Context<'_>) -> Poll<Result<Decoded, Broken>> {
        if self.broken.get() {
            return Poll::Ready(Err(Broken::Early));
        }
        if self.expected.replace(false) {
            ready!(self.poll_continue(cx));
        }
        let mut decoder = self.decoder.borrow_mut();
        let Some(state) = decoder.as_mut() else { return Poll::Ready(Ok(Decoded::End)) };
        loop {
            let decoded = state.decode(&mut self.input.borrow_mut(), self.trailers);
            match decoded {
                Ok(Decoded::More) => match ready!(self.poll_fill(cx)) {
                    Ok(read) if read > 0 => {}
                    _ => {
                        self.gone.set(true);
                        return Poll::Ready(Err(self.fail(Broken::Early)));
                    }
                },
                Ok(piece) => {
                    let last = matches!(piece, Decoded::End | Decoded::Trailers(_)) || state.exact() == Some(0);
                    if last {
                        *decoder = None;
                        if let Some(owner) = self.owner.borrow_mut().take() {
                            owner.wake();
                        }
                    }
                    return Poll::Ready(Ok(piece));
                }
                Err(broken) => return Poll::Ready(Err(self.fail(broken))),
            }
        }
    }

    fn fail(&self, broken: Broken) -> Broken {
        self.broken.set(true);
        if let Some(owner) = self.owner.borrow_mut().take() {
            owner.wake();
        }
        broken
    }

    /// RFC 9110 §10.1.1. So few bytes fit into any socket's buffer; if not, the client is left to its own patience.
    fn poll_continue(&self, cx: &mut Context<'_>) -> Poll<()> {
        const LINE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut stream = self.stream.borrow_mut();
        match Pin::new(&mut *stream).poll_write(cx, LINE) {
            Poll::Ready(Ok(n)) if n == LINE.len() => {
                let _later = Pin::new(&mut *stream).poll_flush(cx);
            }
            Poll::Ready(Ok(0)) => {}
            Poll::Ready(_) => self.broken.set(true),
            Poll::Pending => {
                self.expected.set(true);
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Ready when the client has gone. While a body is being read its reader sees that; afterwards what the client sends
    /// ahead is kept, up to one buffer.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.body_pending() && !self.broken.get() {
            let mut owner = self.owner.borrow_mut();
            match owner.as_ref() {
                Some(waker) if waker.will_wake(cx.waker()) => {}
                _ => *owner = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        if self.broken.get() {
            return if self.gone.get() { Poll::Ready(()) } else { Poll::Pending };
        }
        loop {
            if self.input.borrow().len() >= READ.0 {
                return Poll::Pending;
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, bytes)
    }

    pub(crate) fn poll_write_two(&self, cx: &mut Context<'_>, a: &[u8], b: &[u8]) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.borrow_mut();
        match (a.is_empty(), b.is_empty()) {
            (false, false) => {
                Pin::new(&mut *stream).poll_write_vectored(cx, &[io::IoSlice::new(a), io::IoSlice::new(b)])
            }
            (false, true) => Pin::new(&mut *stream).poll_write(cx, a),
            _ => Pin::new(&mut *stream).poll_write(cx, b),
        }
    }

    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_flush(cx)
    }

    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(cx)
    }

    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut tokio::io::ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut input = self.input.borrow_mut();
        if !input.is_empty() {
            let n = input.len().min(buf.remaining());
            buf.put_slice(&input.split_to(n));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, buf)
    }
}
