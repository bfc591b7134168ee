//! A request's body on its way to a backend: kept while it is small, so that it can be sent again.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use lb_message::{Body, BoxError};
use lb_model::http::Refusal;

use crate::answer::BodyRefused;
use crate::trailers;

/// Bytes of a body that are kept for another try.
pub(crate) const KEPT: usize = 64 << 10;

/// A body that is the same for all tries of a request.
#[derive(Debug)]
pub(crate) struct Upload {
    body: RefCell<Body>,
    hint: SizeHint,
    /// What was read so far; `None`: too much, or never to be sent again.
    tape: RefCell<Option<Vec<Bytes>>>,
    taped: Cell<usize>,
    trailers: RefCell<Option<HeaderMap>>,
    begun: Cell<bool>,
    ended: Cell<bool>,
    failed: Cell<Option<Refusal>>,
    /// The number of the try that may read.
    turn: Cell<u32>,
}

impl Upload {
    /// `None`: there is no body. `keep`: what is read is kept, up to [`KEPT`] bytes.
    pub(crate) fn new(body: Body, keep: bool) -> Option<Rc<Self>> {
        if body.is_end_stream() {
            return None;
        }
        let hint = body.size_hint();
        Some(Rc::new(Self {
            body: RefCell::new(body),
            tape: RefCell::new(keep.then(Vec::new).filter(|_| hint.lower() <= KEPT as u64)),
            hint,
            taped: Cell::new(0),
            trailers: RefCell::new(None),
            begun: Cell::new(false),
            ended: Cell::new(false),
            failed: Cell::new(None),
            turn: Cell::new(0),
        }))
    }

    /// It can be sent from its beginning.
    pub(crate) fn is_replayable(&self) -> bool {
        !self.begun.get() || self.tape.borrow().is_some()
    }

    /// All of it was read, so the backend's connection waits for nothing of it.
    pub(crate) fn is_done(&self) -> bool {
        self.ended.get()
    }

    /// Why it ended before its end.
    pub(crate) fn failed(&self) -> Option<Refusal> {
        self.failed.get()
    }

    /// The body for the next try; the last one's reads nothing more.
    pub(crate) fn again(self: &Rc<Self>) -> Outgoing {
        self.turn.set(self.turn.get() + 1);
        Outgoing(Some(Reader { upload: Rc::clone(self), turn: self.turn.get(), at: 0, trailers_sent: false }))
    }

    fn poll_fresh(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.begun.set(true);
        let mut body = self.body.borrow_mut();
        match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                self.ended.set(true);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                let refused = error.downcast_ref::<BodyRefused>().map_or(Refusal::ClientClosed, |r| r.refusal);
                self.failed.set(Some(refused));
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(Some(Ok(frame))) => {
                // A body of known length may not be asked for its end.
                self.ended.set(body.is_end_stream());
                Poll::Ready(Some(Ok(self.record(frame))))
            }
        }
    }

    fn record(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(data) => {
                self.taped.set(self.taped.get() + data.len());
                let mut tape = self.tape.borrow_mut();
                if self.taped.get() > KEPT {
                    *tape = None;
                }
                if let Some(tape) = tape.as_mut() {
                    tape.push(data.clone());
                }
                Frame::data(data)
            }
            Err(frame) => match frame.into_trailers() {
                Ok(mut fields) => {
                    trailers::clean(&mut fields);
                    self.ended.set(true);
                    *self.trailers.borrow_mut() = Some(fields.clone());
                    Frame::trailers(fields)
                }
                Err(frame) => frame,
            },
        }
    }
}

/// The body of one try; without a reader it is empty.
#[derive(Debug)]
pub(crate) struct Outgoing(Option<Reader>);

#[derive(Debug)]
struct Reader {
    upload: Rc<Upload>,
    turn: u32,
    /// Chunks of the tape that were sent.
    at: usize,
    trailers_sent: bool,
}

impl Outgoing {
    pub(crate) const EMPTY: Self = Self(None);
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(reader) = &mut self.0 else { return Poll::Ready(None) };
        let upload = &reader.upload;
        if reader.turn != upload.turn.get() {
            return Poll::Ready(Some(Err("another try has taken over".into())));
        }
        if let Some(chunk) = upload.tape.borrow().as_ref().and_then(|tape| tape.get(reader.at)) {
            reader.at += 1;
            return Poll::Ready(Some(Ok(Frame::data(chunk.clone()))));
        }
        if upload.ended.get() {
            let fields = upload.trailers.borrow().clone().filter(|_| !reader.trailers_sent);
            reader.trailers_sent = true;
            return Poll::Ready(fields.map(|f| Ok(Frame::trailers(f))));
        }
        let frame = upload.poll_fresh(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            reader.at += usize::from(frame.is_data());
            reader.trailers_sent = frame.is_trailers();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|r| {
            let kept = r.upload.tape.borrow().as_ref().map_or(0, Vec::len);
            let sent = r.trailers_sent || r.upload.trailers.borrow().is_none();
            r.upload.ended.get() && r.at >= kept && sent
        })
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            None => SizeHint::with_exact(0),
            // Asked before the first frame; later nobody needs it.
            Some(reader) if reader.at == 0 => reader.upload.hint,
            Some(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn body(chunks: &[usize]) -> Body {
        let frames: Vec<Result<Frame<Bytes>, BoxError>> =
            chunks.iter().map(|n| Ok(Frame::data(Bytes::from(vec![b'x'; *n])))).collect();
        Body::boxed(StreamBody::new(futures_util::stream::iter(frames)))
    }

    async fn length(body: Outgoing) -> usize {
        body.collect().await.expect("a body").to_bytes().len()
    }

    #[tokio::test]
    async fn a_small_body_is_sent_again_and_a_large_one_is_not() {
        let small = Upload::new(body(&[1_000, 2_000]), true).expect("a body");
        let mut first = small.again();
        first.frame().await.expect("a frame").expect("data");
        assert!(small.is_replayable() && !small.is_done());
        assert_eq!(length(small.again()).await, 3_000, "half was on the tape");
        assert!(first.frame().await.expect("a frame").is_err(), "the first try reads no more");
        assert_eq!(length(small.again()).await, 3_000);
        assert!(small.is_done());

        let large = Upload::new(body(&[KEPT, 1]), true).expect("a body");
        assert!(large.is_replayable());
        assert_eq!(length(large.again()).await, KEPT + 1);
        assert!(!large.is_replayable());

        let never = Upload::new(body(&[10]), false).expect("a body");
        assert!(never.is_replayable(), "nothing of it was read");
        assert_eq!(length(never.again()).await, 10);
        assert!(!never.is_replayable());
        assert!(Upload::new(Body::Empty, true).is_none());
    }
}
