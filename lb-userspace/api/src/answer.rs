//! What a request is answered with: one document, or lines as they come.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::{Response, StatusCode, header};
use lb_control::Tap;
use serde::Serialize;

use crate::wire::{Done, Fault, FaultKind};

#[derive(Debug)]
pub(crate) enum Answer {
    Document {
        status: u16,
        body: String,
    },
    /// JSON documents, one a line, until the asker goes away.
    Lines(Tap),
}

impl Answer {
    pub(crate) fn ok(document: &impl Serialize) -> Result<Self, Fault> {
        Ok(Self::Document { status: 200, body: text(document)? })
    }
    pub(crate) fn done(done: String) -> Result<Self, Fault> {
        Self::ok(&Done { done })
    }
    pub(crate) fn fault(fault: &Fault) -> Self {
        let body = serde_json::to_string(fault).unwrap_or_else(|_| "{}".to_owned());
        Self::Document { status: fault.http_status(), body }
    }

    pub(crate) fn into_response(self) -> Response<AnswerBody> {
        let (status, kind, body) = match self {
            Self::Document { status, body } => (status, "application/json", AnswerBody::Whole(Some(body.into()))),
            Self::Lines(tap) => (200, "application/x-ndjson", AnswerBody::Lines(tap)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        response
    }
}

pub(crate) fn text(document: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(document).map_err(|e| Fault::new(FaultKind::Refused, e.to_string()))
}

#[derive(Debug)]
pub(crate) enum AnswerBody {
    Whole(Option<Bytes>),
    Lines(Tap),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Poll::Ready(body.take().map(|b| Ok(Frame::data(b)))),
            Self::Lines(tap) => tap.events.poll_recv(cx).map(|event| {
                let mut line = event?;
                line.push('\n');
                Some(Ok(Frame::data(line.into())))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64),
            Self::Lines(_) => SizeHint::default(),
        }
    }
}
