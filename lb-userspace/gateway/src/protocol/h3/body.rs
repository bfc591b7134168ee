//! A request's body from its stream: read as it is wanted, measured against its Content-Length (RFC 9114 §4.1.2).

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes};
use h3::error::Code;
use h3::server::RequestStream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use lb_message::BoxError;

use super::stream::Receive;

/// Somebody wants the body: a client that waits for 100 (Continue) is to be told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish(Rc<RefCell<(bool, Option<Waker>)>>);

impl Wish {
    fn make(&self) {
        let mut wish = self.0.borrow_mut();
        wish.0 = true;
        if let Some(waker) = wish.1.take() {
            waker.wake();
        }
    }

    pub(crate) fn poll_made(&self, cx: &Context<'_>) -> Poll<()> {
        let mut wish = self.0.borrow_mut();
        if wish.0 {
            return Poll::Ready(());
        }
        wish.1 = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Data,
    Trailers,
    Done,
}

pub(crate) struct RequestBody {
    stream: RequestStream<Receive, Bytes>,
    stage: Stage,
    /// Of Content-Length.
    left: Option<u64>,
    /// Read before anybody wanted it.
    first: Option<Result<Frame<Bytes>, BoxError>>,
    wish: Option<Wish>,
}

impl RequestBody {
    pub(crate) fn new(stream: RequestStream<Receive, Bytes>, length: Option<u64>, wish: Option<Wish>) -> Self {
        Self { stream, stage: Stage::Data, left: length, first: None, wish }
    }

    /// Looks whether there is a body at all. Ready: it is known.
    pub(crate) fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.first.is_none() {
            self.first = ready!(self.poll_next(cx));
        }
        Poll::Ready(())
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.stage == Stage::Data {
            match ready!(self.stream.poll_recv_data(cx)) {
                Ok(Some(mut data)) => return Poll::Ready(Some(self.measured(data.copy_to_bytes(data.remaining())))),
                Ok(None) => self.stage = Stage::Trailers,
                Err(e) => return self.fail(e.into()),
            }
        }
        if self.stage == Stage::Trailers {
            let trailers = match ready!(self.stream.poll_recv_trailers(cx)) {
                Ok(trailers) => trailers,
                Err(e) => return self.fail(e.into()),
            };
            if self.left.is_some_and(|left| left > 0) {
                return self.fail("the body is shorter than its Content-Length".into());
            }
            self.stage = Stage::Done;
            return Poll::Ready(trailers.map(|t| Ok(Frame::trailers(t))));
        }
        Poll::Ready(None)
    }

    fn measured(&mut self, data: Bytes) -> Result<Frame<Bytes>, BoxError> {
        if let Some(left) = &mut self.left {
            let Some(rest) = left.checked_sub(data.len() as u64) else {
                self.stop(Code::H3_MESSAGE_ERROR);
                return Err("the body is longer than its Content-Length".into());
            };
            *left = rest;
        }
        Ok(Frame::data(data))
    }

    fn fail(&mut self, error: BoxError) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.stop(Code::H3_MESSAGE_ERROR);
        Poll::Ready(Some(Err(error)))
    }

    fn stop(&mut self, code: Code) {
        if self.stage != Stage::Done {
            self.stage = Stage::Done;
            self.stream.stop_sending(code);
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Some(wish) = this.wish.take() {
            wish.make();
        }
        match this.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => this.poll_next(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stage == Stage::Done && self.first.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().and_then(|f| f.as_ref().ok()?.data_ref()).map_or(0, |d| d.len() as u64);
        match self.left {
            Some(left) => SizeHint::with_exact(left + first),
            None => SizeHint::default(),
        }
    }
}

impl Drop for RequestBody {
    /// RFC 9114 §4.1: what is left of it is not needed.
    fn drop(&mut self) {
        self.stop(Code::H3_NO_ERROR);
    }
}
