//! One request of an HTTP/3 connection: its head, the pipeline, and the response on its way back.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h3::error::{Code, StreamError};
use h3::server::{RequestResolver, RequestStream};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use lb_message::Body;
use lb_model::http::{ListenerLimits, Refusal};
use tokio::time::timeout;

use super::body::{RequestBody, Wish};
use super::quic::{HEAD_TOO_LARGE, Quic, Side};
use super::stream::Send;
use crate::connection::Connection;
use crate::request::{self, Reply};
use crate::stage::Fault;

const SLOW: Fault = Fault::last(Refusal::ClientTimeout, "the request's head did not arrive in time");
/// How long the end of a GET's stream is waited for: it mostly comes with the head, and tells that there is no body.
const END: Duration = Duration::from_secs(1);
/// How long the client may take to acknowledge the last bytes.
const ACKNOWLEDGED: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Answered,
    /// The client took it back before there was an answer, or was in breach of the protocol.
    Cancelled,
}

type Sending = RequestStream<Send, Bytes>;

/// Serves one request to its last byte.
pub(crate) async fn run(connection: Rc<Connection>, resolver: RequestResolver<Quic, Bytes>, side: Rc<Side>) -> Ended {
    let site = connection.site();
    let (limits, timeouts) = (site.listener.limits, site.listener.timeouts);
    drop(site);
    let mut resolving = pin!(resolver.resolve_request());
    let resolved = match timeout(timeouts.header, &mut resolving).await {
        Ok(resolved) => resolved,
        Err(_) => {
            side.refused.set(Some(SLOW));
            resolving.await
        }
    };
    let (request, stream) = match resolved {
        Ok(whole) => whole,
        Err(StreamError::HeaderTooBig { .. }) => {
            // The library has answered with a bare 431: it is only written down.
            drop(request::unreadable(&connection, &HEAD_TOO_LARGE));
            return Ended::Answered;
        }
        Err(_) => return Ended::Cancelled,
    };
    let (mut sending, receiving) = stream.split();
    let refused = side.refused.get().or_else(|| too_large(&request, &limits));
    let mut reply = match refused {
        Some(fault) => {
            drop(RequestBody::new(receiving, None, None));
            request::unreadable(&connection, &fault)
        }
        None => {
            let wish = expects(request.headers()).then(Wish::default);
            let body = begin(&request, RequestBody::new(receiving, length(request.headers()), wish.clone())).await;
            let Some(reply) = serve(&connection, request.map(|()| body), &side, &mut sending, wish).await else {
                sending.stop_stream(Code::H3_REQUEST_CANCELLED);
                return Ended::Cancelled;
            };
            reply
        }
    };
    let date = connection.worker.date();
    reply.response.headers_mut().entry(DATE).or_insert(date);
    respond(&mut sending, reply, &side, timeouts.idle).await
}

/// As it is decoded (RFC 9114 §4.2.2), beside what the target is measured by.
fn too_large(request: &Request<()>, limits: &ListenerLimits) -> Option<Fault> {
    let fields = request.headers();
    let size: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    let too_many = fields.len() > limits.fields as usize;
    (too_many || size as u64 > limits.header).then_some(HEAD_TOO_LARGE)
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn expects(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// The body, or that there is none.
async fn begin(request: &Request<()>, mut body: RequestBody) -> Body {
    let bodiless = *request.method() == Method::GET || *request.method() == Method::HEAD;
    if bodiless && !request.headers().contains_key(CONTENT_LENGTH) {
        let _longer = timeout(END, poll_fn(|cx| body.poll_begin(cx))).await;
    } else if !request.headers().contains_key(EXPECT) {
        let _later = poll_fn(|cx| Poll::Ready(body.poll_begin(cx))).await;
    }
    if body.is_end_stream() { Body::Empty } else { Body::boxed(body) }
}

/// `None`: the client has lost interest; what was begun for it has ended.
async fn serve(
    connection: &Rc<Connection>,
    request: Request<Body>,
    side: &Side,
    sending: &mut Sending,
    wish: Option<Wish>,
) -> Option<Reply> {
    let mut serving = pin!(request::serve(connection, request));
    let mut wish = wish;
    loop {
        let next = poll_fn(|cx| {
            if let Poll::Ready(reply) = serving.as_mut().poll(cx) {
                return Poll::Ready(Next::Reply(reply));
            }
            if side.poll_over(cx).is_ready() {
                return Poll::Ready(Next::Gone);
            }
            match &wish {
                Some(wish) => wish.poll_made(cx).map(|()| Next::Continue),
                None => Poll::Pending,
            }
        });
        match next.await {
            Next::Reply(reply) => return Some(reply),
            Next::Gone => return None,
            Next::Continue => {
                wish = None;
                let mut interim = Response::new(());
                *interim.status_mut() = StatusCode::CONTINUE;
                sending.send_response(interim).await.ok()?;
            }
        }
    }
}

enum Next {
    Reply(Reply),
    Gone,
    Continue,
}

async fn respond(sending: &mut Sending, reply: Reply, side: &Side, idle: Duration) -> Ended {
    let (parts, mut body) = reply.response.into_parts();
    let mut head = Response::from_parts(parts, ());
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        head.headers_mut().remove(name);
    }
    let has_body = !body.is_end_stream();
    if let (true, Some(exact)) = (has_body, body.size_hint().exact()) {
        head.headers_mut().insert(CONTENT_LENGTH, exact.into());
    }
    if !within(idle, sending.send_response(head)).await {
        return Ended::Cancelled;
    }
    if has_body && !send_body(sending, &mut body, side, idle).await {
        sending.stop_stream(Code::H3_INTERNAL_ERROR);
        return Ended::Answered;
    }
    // Told here, or the log waits for acknowledgements.
    drop(body);
    if within(idle, sending.finish()).await {
        let _longer = timeout(ACKNOWLEDGED, poll_fn(|cx| side.poll_over(cx))).await;
    }
    Ended::Answered
}

/// `false`: broken off, by whichever side.
async fn send_body<B>(sending: &mut Sending, body: &mut B, side: &Side, idle: Duration) -> bool
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    loop {
        let next = poll_fn(|cx: &mut Context<'_>| {
            if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
                return Poll::Ready(Ok(frame));
            }
            side.poll_over(cx).map(Err)
        });
        let frame = match next.await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return true,
            Ok(Some(Err(_))) | Err(()) => return false,
        };
        let sent = match frame.into_data() {
            Ok(data) if data.is_empty() => true,
            Ok(data) => within(idle, sending.send_data(data)).await,
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => within(idle, sending.send_trailers(trailers)).await,
                Err(_) => true,
            },
        };
        if !sent {
            return false;
        }
        if body.is_end_stream() {
            return true;
        }
    }
}

/// A client that does not take what is sent for so long is given up.
async fn within(idle: Duration, sending: impl Future<Output = Result<(), StreamError>>) -> bool {
    matches!(timeout(idle, sending).await, Ok(Ok(())))
}
