//! Bodies with a bound, a time-out and a count: [`Upload`] of a request, [`Download`] of a response.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use lb_message::{Body, BoxError};
use lb_model::http::Refusal;
use tokio::time::{Instant, Sleep};

use super::hop::keep_trailers;

/// Why a body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    #[error("the request's body is too large")]
    TooLarge,
    #[error("the request's body did not arrive in time")]
    Slow,
    /// The connection went, or what came is no body (bad chunks).
    #[error("the request's body ended early")]
    Broken,
}

impl BodyFault {
    /// The answer, if there was none yet.
    #[must_use]
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::TooLarge => Refusal::BodyTooLarge,
            Self::Slow => Refusal::ClientTimeout,
            Self::Broken => Refusal::BadRequest,
        }
    }
}

/// What is known of a request's body outside of it.
#[derive(Debug, Default)]
pub struct Meter {
    bytes: Cell<u64>,
    fault: Cell<Option<BodyFault>>,
    ended: Cell<bool>,
}

impl Meter {
    /// Bytes that came so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }
    /// It failed: this is the reason, whatever the upstream made of it.
    #[must_use]
    pub fn fault(&self) -> Option<BodyFault> {
        self.fault.get()
    }
    /// It came to its end.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.ended.get()
    }
}

#[derive(Clone, Copy, Debug)]
pub struct UploadRules {
    /// Bytes.
    pub max: Option<u64>,
    /// Silence.
    pub timeout: Duration,
    /// gRPC's trailers pass.
    pub grpc: bool,
}

/// A request's body.
#[derive(Debug)]
pub struct Upload {
    body: Body,
    rules: UploadRules,
    meter: Rc<Meter>,
    // Armed when a read finds nothing: a body that is there at once never touches the timer.
    silence: Option<Pin<Box<Sleep>>>,
    armed: bool,
}

impl Upload {
    /// A body that is empty stays as it is, without a meter: nothing can go wrong with it.
    #[must_use]
    pub fn wrap(body: Body, rules: UploadRules) -> (Body, Option<Rc<Meter>>) {
        if body.is_end_stream() {
            return (Body::Empty, None);
        }
        let meter = Rc::new(Meter::default());
        let upload = Self { body, rules, meter: Rc::clone(&meter), silence: None, armed: false };
        (Body::boxed(upload), Some(meter))
    }

    fn fail(&self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        self.meter.fault.set(Some(fault));
        Poll::Ready(Some(Err(fault)))
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.rules.timeout;
        let sleep = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        if !self.armed {
            sleep.as_mut().reset(Instant::now() + timeout);
            self.armed = true;
        }
        sleep.as_mut().poll(cx)
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        self.armed = false;
        match frame.into_data() {
            Ok(data) => {
                let bytes = self.meter.bytes.get() + data.len() as u64;
                self.meter.bytes.set(bytes);
                if self.rules.max.is_some_and(|max| bytes > max) {
                    return self.fail(BodyFault::TooLarge);
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Err(frame) => {
                let Ok(mut trailers) = frame.into_trailers() else { return self.fail(BodyFault::Broken) };
                keep_trailers(&mut trailers, self.rules.grpc);
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = self.get_mut();
        if let Some(fault) = this.meter.fault.get() {
            return Poll::Ready(Some(Err(fault)));
        }
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => this.take(frame),
            Poll::Ready(Some(Err(_))) => this.fail(BodyFault::Broken),
            Poll::Ready(None) => {
                this.meter.ended.set(true);
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(this.poll_silence(cx));
                this.fail(BodyFault::Slow)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Of the body, handed to the client's connection.
    pub bytes: u64,
    /// `false`: the client went away, or the body failed on the way.
    pub complete: bool,
    /// The body failed: who made it broke off, not the client.
    pub failed: bool,
    /// Of a trailer `grpc-status`.
    pub grpc_status: Option<u16>,
}

/// Told once when a response is over: for the log, counts, the tap.
pub trait Finish {
    fn finish(self, sent: Sent);
}

/// A response's body on its way to the client; the server's body type.
#[derive(Debug)]
pub struct Download<T: Finish> {
    body: Body,
    sent: Sent,
    grpc: bool,
    done: Option<T>,
}

impl<T: Finish> Download<T> {
    /// `grpc`: gRPC's trailers pass.
    #[must_use]
    pub fn new(body: Body, grpc: bool, done: T) -> Self {
        let complete = body.is_end_stream();
        Self { body, sent: Sent { bytes: 0, complete, failed: false, grpc_status: None }, grpc, done: Some(done) }
    }
}

impl<T: Finish> Drop for Download<T> {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done.finish(self.sent);
        }
    }
}

impl<T: Finish + Unpin> HttpBody for Download<T> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                this.sent.failed = true;
                return Poll::Ready(Some(Err(error)));
            }
            None => {
                this.sent.complete = !this.sent.failed;
                return Poll::Ready(None);
            }
        };
        let frame = match frame.into_data() {
            Ok(data) => {
                this.sent.bytes += data.len() as u64;
                // A server that knows the length does not ask again after the last byte.
                this.sent.complete = this.body.is_end_stream() || this.body.size_hint().exact() == Some(0);
                Frame::data(data)
            }
            Err(frame) => {
                let mut trailers = frame.into_trailers().unwrap_or_default();
                keep_trailers(&mut trailers, this.grpc);
                this.sent.grpc_status =
                    trailers.get("grpc-status").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
                this.sent.complete = true;
                Frame::trailers(trailers)
            }
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
