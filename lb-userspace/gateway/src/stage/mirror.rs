//! A copy of a request for another pool; the request itself never waits for it.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT, TRAILER, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, Request};
use http_body::{Body as HttpBody, Frame, SizeHint};
use lb_message::{Body, BoxError};

/// A body larger than this is not mirrored.
pub const LARGEST: usize = 1 << 20;

/// Which requests are copied: exactly so many of a hundred, over all workers together.
#[derive(Debug)]
pub struct Share {
    percent: usize,
    turn: AtomicUsize,
}

impl Share {
    #[must_use]
    pub fn new(percent: u8) -> Self {
        Self { percent: usize::from(percent.min(100)), turn: AtomicUsize::new(0) }
    }

    /// Is this request one of them.
    #[must_use]
    pub fn next(&self) -> bool {
        match self.percent {
            0 => false,
            100 => true,
            percent => {
                // The n-th is one of them where n·percent/100 passes a whole number.
                let turn = self.turn.fetch_add(1, Ordering::Relaxed) % 100;
                (turn + 1) * percent / 100 != turn * percent / 100
            }
        }
    }
}

/// Splits a request that is ready for the backend in two. `send` is called once: with the copy as soon as the body has
/// passed whole, at once if there is none; with `None` if it was larger than [`LARGEST`] or broke off, or if the request
/// asks for an upgrade, of which there can be no copy. The copy has no trailers.
#[must_use]
pub fn tee<F>(parts: &Parts, body: Body, send: F) -> Body
where
    F: FnOnce(Option<Request<Body>>) + Unpin + 'static,
{
    let too_large = body.size_hint().lower() > LARGEST as u64;
    if too_large || parts.headers.contains_key(UPGRADE) {
        send(None);
        return body;
    }
    let mut copy = Request::new(Body::Empty);
    *copy.method_mut() = parts.method.clone();
    *copy.uri_mut() = parts.uri.clone();
    *copy.version_mut() = parts.version;
    *copy.headers_mut() = fields(&parts.headers);
    if body.is_end_stream() {
        send(Some(copy));
        return body;
    }
    Body::boxed(Tee { body, copy: Some((copy, send)), kept: Vec::new(), length: 0 })
}

fn fields(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [EXPECT, TRAILER] {
        headers.remove(name);
    }
    headers
}

struct Tee<F: FnOnce(Option<Request<Body>>)> {
    body: Body,
    copy: Option<(Request<Body>, F)>,
    kept: Vec<Bytes>,
    length: usize,
}

impl<F: FnOnce(Option<Request<Body>>)> Tee<F> {
    fn keep(&mut self, data: &Bytes) {
        if self.copy.is_none() {
            return;
        }
        self.length += data.len();
        if self.length > LARGEST {
            self.give_up();
        } else {
            self.kept.push(data.clone());
        }
    }

    fn give_up(&mut self) {
        self.kept = Vec::new();
        if let Some((_, send)) = self.copy.take() {
            send(None);
        }
    }

    fn complete(&mut self) {
        let Some((mut copy, send)) = self.copy.take() else { return };
        let kept = std::mem::take(&mut self.kept);
        let body = match <[Bytes; 1]>::try_from(kept) {
            Ok([one]) => one,
            Err(kept) => {
                let mut whole = BytesMut::with_capacity(self.length);
                kept.iter().for_each(|part| whole.extend_from_slice(part));
                whole.freeze()
            }
        };
        if copy.headers().contains_key(CONTENT_LENGTH) {
            copy.headers_mut().insert(CONTENT_LENGTH, body.len().into());
        }
        *copy.body_mut() = Body::full(body);
        send(Some(copy));
    }
}

impl<F: FnOnce(Option<Request<Body>>)> Drop for Tee<F> {
    fn drop(&mut self) {
        // A server that knows the length does not ask again after the last byte.
        if self.body.is_end_stream() { self.complete() } else { self.give_up() }
    }
}

impl<F: FnOnce(Option<Request<Body>>) + Unpin> HttpBody for Tee<F> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.keep(data);
                }
            }
            Some(Err(_)) => this.give_up(),
            None => this.complete(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    use http_body_util::{BodyExt as _, StreamBody};

    type Seen = Rc<RefCell<Vec<Option<Request<Body>>>>>;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    fn chunks(parts: Vec<Result<&'static [u8], &'static str>>) -> Body {
        let frames = parts.into_iter().map(|p| p.map(|d| Frame::data(Bytes::from_static(d))));
        Body::boxed(StreamBody::new(futures_util::stream::iter(frames)))
    }

    fn teed(body: Body) -> (Body, Seen) {
        let parts =
            Request::post("/a?b").header("x-a", "1").header("expect", "100-continue").body(()).expect("a request");
        let seen = Seen::default();
        let to = Rc::clone(&seen);
        (tee(&parts.into_parts().0, body, move |copy| to.borrow_mut().push(copy)), seen)
    }

    fn only(seen: &Seen) -> Option<Request<Body>> {
        assert_eq!(seen.borrow().len(), 1);
        seen.borrow_mut().pop().expect("one")
    }

    #[test]
    fn a_request_without_body_is_copied_at_once() {
        let (_, seen) = teed(Body::Empty);
        let copy = only(&seen).expect("a copy");
        assert_eq!((copy.method().as_str(), copy.uri().to_string()), ("POST", "/a?b".to_owned()));
        assert_eq!(copy.headers().len(), 1);
    }

    #[test]
    fn an_upgrade_is_not_copied() {
        let parts = Request::get("/").header("upgrade", "websocket").body(()).expect("a request").into_parts().0;
        let seen = Seen::default();
        let to = Rc::clone(&seen);
        let _ = tee(&parts, Body::Empty, move |copy| to.borrow_mut().push(copy));
        assert!(only(&seen).is_none());
    }

    #[test]
    fn a_body_is_copied_when_it_is_through() {
        let (body, seen) = teed(chunks(vec![Ok(b"ab"), Ok(b"cd")]));
        assert!(seen.borrow().is_empty());
        assert_eq!(run(body.collect()).expect("a body").to_bytes(), "abcd");
        assert_eq!(run(only(&seen).expect("a copy").into_body().collect()).expect("a body").to_bytes(), "abcd");
        let (body, seen) = teed(Body::full("whole"));
        assert_eq!(run(body.collect()).expect("a body").to_bytes(), "whole");
        assert!(only(&seen).is_some());
    }

    #[test]
    fn what_is_too_large_or_breaks_off_is_not() {
        static LARGE: [u8; LARGEST] = [0; LARGEST];
        let (body, seen) = teed(chunks(vec![Ok(&LARGE), Ok(b"x")]));
        assert_eq!(run(body.collect()).expect("a body").to_bytes().len(), LARGEST + 1);
        assert!(only(&seen).is_none());
        let (body, seen) = teed(Body::full(vec![0; LARGEST + 1]));
        assert_eq!(run(body.collect()).expect("a body").to_bytes().len(), LARGEST + 1);
        assert!(only(&seen).is_none());
        let (body, seen) = teed(chunks(vec![Ok(b"ab"), Err("gone")]));
        assert!(run(body.collect()).is_err());
        assert!(only(&seen).is_none());
        let (body, seen) = teed(chunks(vec![Ok(b"ab")]));
        drop(body);
        assert!(only(&seen).is_none());
    }

    #[test]
    fn a_share_is_exact() {
        for percent in [0, 1, 33, 50, 99, 100] {
            let share = Share::new(percent);
            assert_eq!((0..1000).filter(|_| share.next()).count(), usize::from(percent) * 10, "{percent}");
        }
    }
}
