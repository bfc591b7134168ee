//! A request's body as it comes from an HTTP/1 connection, and the connection itself once it is a tunnel.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::chunked::{Broken, Decoded};
use super::wire::Wire;

#[derive(Debug)]
pub(crate) struct RequestBody {
    wire: Rc<Wire>,
    turn: u64,
    /// Bytes to come, if they are known.
    left: Option<u64>,
    ended: bool,
}

impl RequestBody {
    pub(crate) fn new(wire: Rc<Wire>, turn: u64, length: Option<u64>) -> Self {
        Self { wire, turn, left: length, ended: false }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        if this.turn != this.wire.turn.get() {
            return Poll::Ready(Some(Err(Broken::Early)));
        }
        match ready!(this.wire.poll_body(cx)) {
            Ok(Decoded::Data(data)) => {
                if let Some(left) = &mut this.left {
                    *left = left.saturating_sub(data.len() as u64);
                    this.ended = *left == 0;
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Ok(Decoded::Trailers(fields)) => {
                this.ended = true;
                Poll::Ready(Some(Ok(Frame::trailers(fields))))
            }
            Ok(Decoded::End | Decoded::More) => {
                this.ended = true;
                Poll::Ready(None)
            }
            Err(broken) => Poll::Ready(Some(Err(broken))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A connection that has become something else than HTTP.
#[derive(Debug)]
pub(crate) struct Raw(pub(crate) Rc<Wire>);

impl AsyncRead for Raw {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buf)
    }
}

impl AsyncWrite for Raw {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, buf)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }
}
