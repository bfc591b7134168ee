//! A response's body on its way from a backend: holds the request's place, watches for silence, and gives the
//! connection back at its end.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use lb_message::{Body, BoxError};
use lb_model::http::Refusal;

use crate::answer::BodyRefused;
use crate::backend::Ticket;
use crate::clock;
use crate::deadline::Deadline;
use crate::lane::{H1, Lane, Share};
use crate::plan::PoolPlan;
use crate::trailers;
use crate::upload::Upload;

/// The connection that a response comes over.
#[derive(Debug)]
pub(crate) enum Exchange {
    H1(H1),
    H2(Share),
}

impl Exchange {
    /// Nothing was sent over it before.
    pub(crate) fn is_fresh(&self) -> bool {
        match self {
            Self::H1(h1) => h1.is_fresh(),
            Self::H2(share) => share.1,
        }
    }
}

/// What must happen when the response's body has ended, and what must not if it does not end.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) ticket: Ticket,
    pub(crate) exchange: Exchange,
    pub(crate) lane: Rc<Lane>,
    pub(crate) upload: Option<Rc<Upload>>,
    /// The response's head allows another exchange.
    pub(crate) reusable: bool,
}

impl Ending {
    /// In order: the connection may be used again, if the request's body is out too.
    pub(crate) fn finish(self) {
        let sent = self.upload.as_ref().is_none_or(|u| u.is_done());
        if let Exchange::H1(h1) = self.exchange
            && self.reusable
            && sent
        {
            self.lane.give_back(h1, clock::ticks(clock::now()));
        }
    }
}

#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) incoming: Incoming,
    pub(crate) ending: Option<Ending>,
    pub(crate) deadline: Deadline,
    pub(crate) idle: Duration,
    pub(crate) grpc: bool,
    pub(crate) plan: std::sync::Arc<PoolPlan>,
    /// The deadline is set for the silence under way.
    pub(crate) armed: bool,
}

impl Download {
    fn broken(&mut self, refusal: Refusal) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(ending) = self.ending.take() {
            let now = clock::now();
            ending.ticket.backend.judge(self.plan.http.outlier.as_ref(), true, Duration::ZERO, now);
        }
        Poll::Ready(Some(Err(Box::new(BodyRefused { refusal }))))
    }

    fn finish(&mut self) {
        if let Some(ending) = self.ending.take() {
            ending.finish();
        }
    }
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.ending.is_none() {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.armed = false;
                let frame = match frame.into_trailers() {
                    Ok(mut fields) => {
                        if this.grpc {
                            trailers::clean_grpc(&mut fields)
                        } else {
                            trailers::clean(&mut fields)
                        }
                        Frame::trailers(fields)
                    }
                    Err(frame) => frame,
                };
                if this.incoming.is_end_stream() {
                    this.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(%error, "a backend broke off its answer");
                this.broken(Refusal::BackendClosed)
            }
            Poll::Pending => {
                if !this.armed {
                    this.armed = true;
                    this.deadline.put(clock::ticks(clock::now()).saturating_add(clock::nanos(this.idle)));
                }
                if this.deadline.poll(cx).is_ready() {
                    return this.broken(Refusal::BackendTimeout);
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ending.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// Reads a body that nobody wants, so that its connection can be used again; gives up where that is not worth it.
pub(crate) async fn drain(mut body: Body) {
    use http_body_util::BodyExt as _;
    const MOST: usize = 64 << 10;
    let reading = async {
        let mut n = 0;
        while let Some(Ok(frame)) = body.frame().await {
            n += frame.data_ref().map_or(0, Bytes::len);
            if n > MOST {
                return;
            }
        }
    };
    // A connection that takes longer is dropped.
    let _ = tokio::time::timeout(Duration::from_secs(1), reading).await;
}
