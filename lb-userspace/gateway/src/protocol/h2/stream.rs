//! One request on a stream of HTTP/2: through the pipeline, and its response back under flow control.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use lb_message::Body;

use super::Resets;
use super::body::{Raw, RequestBody};
use crate::clock;
use crate::connection::Connection;
use crate::interim::Interim;
use crate::protocol::timer::Timer;
use crate::request::{self, Reply};

/// Serves a stream to its end.
pub(super) async fn serve(
    connection: Rc<Connection>,
    resets: Rc<Resets>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let idle = connection.site().listener.timeouts.idle;
    let (mut parts, recv) = request.into_parts();
    let head = parts.method == Method::HEAD;
    let interim = Arc::<Interim>::default();
    // A tunnel's bytes are no body: they wait until the backend has agreed.
    let (body, tunnel_in) = match parts.extensions.remove::<h2::ext::Protocol>() {
        Some(protocol) => {
            let known = if protocol.as_str().eq_ignore_ascii_case("websocket") { "websocket" } else { "other" };
            parts.extensions.insert(hyper::ext::Protocol::from_static(known));
            (Body::Empty, Some(recv))
        }
        None if recv.is_end_stream() => (Body::Empty, None),
        None => {
            let length = parts.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
            let expected = parts.headers.contains_key(EXPECT).then(|| Arc::clone(&interim));
            (Body::boxed(RequestBody::new(recv, length, expected)), None)
        }
    };
    parts.extensions.insert(Arc::clone(&interim));
    let reply = {
        let mut serving = pin!(request::serve(&connection, Request::from_parts(parts, body)));
        poll_fn(|cx| {
            let reply = serving.as_mut().poll(cx);
            for (status, fields) in interim.take(cx) {
                let mut answer = Response::new(());
                *answer.status_mut() = status;
                *answer.headers_mut() = fields;
                let _taken_back = respond.send_informational(answer);
            }
            if let Poll::Ready(reply) = reply {
                return Poll::Ready(Some(reply));
            }
            // The client took the request back: dropping the future ends what was asked of a backend.
            let _why = ready!(respond.poll_reset(cx));
            Poll::Ready(None)
        })
        .await
    };
    let Some(Reply { response, tunnel }) = reply else {
        resets.count(clock::now());
        return;
    };
    match (tunnel, tunnel_in) {
        (Some(tunnel), Some(recv)) => {
            let (mut response, _) = fit(response, &connection.worker.date(), false);
            // A successful answer to CONNECT has none (RFC 9110 §8.6).
            response.headers_mut().remove(CONTENT_LENGTH);
            if let Ok(send) = respond.send_response(response, false) {
                tunnel.run(Raw { recv, send, ahead: Bytes::new() }, &connection).await;
            }
        }
        _ => {
            let mut sending = Sending { idle, timer: Timer::default() };
            if sending.response(&mut respond, response, &connection.worker.date(), head).await == Way::TakenBack {
                resets.count(clock::now());
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Done,
    TakenBack,
    Broken,
}

/// The head as HTTP/2 has it (RFC 9113 §8.2.2), and the body, if there is to be one.
fn fit<B: HttpBody>(response: Response<B>, date: &HeaderValue, head: bool) -> (Response<()>, Option<B>) {
    let (mut parts, body) = response.into_parts();
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE, HeaderName::from_static("keep-alive")] {
        parts.headers.remove(name);
    }
    let bodiless = head || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if parts.status == StatusCode::NO_CONTENT {
        parts.headers.remove(CONTENT_LENGTH);
    } else if let (false, Some(length)) = (bodiless, body.size_hint().exact()) {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    parts.headers.entry(DATE).or_insert_with(|| date.clone());
    let body = if bodiless || body.is_end_stream() { None } else { Some(body) };
    (Response::from_parts(parts, ()), body)
}

struct Sending {
    /// A client that opens no window for so long is given up.
    idle: Duration,
    timer: Timer,
}

impl Sending {
    async fn response<B>(
        &mut self,
        respond: &mut SendResponse<Bytes>,
        response: Response<B>,
        date: &HeaderValue,
        head: bool,
    ) -> Way
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        let (response, body) = fit(response, date, head);
        let Ok(mut send) = respond.send_response(response, body.is_none()) else { return Way::Broken };
        let Some(mut body) = body else { return Way::Done };
        loop {
            let frame = poll_fn(|cx| {
                if let Poll::Ready(frame) = Pin::new(&mut body).poll_frame(cx) {
                    return Poll::Ready(Ok(frame));
                }
                let _why = ready!(send.poll_reset(cx));
                Poll::Ready(Err(()))
            });
            let frame = match frame.await {
                Err(()) => return Way::TakenBack,
                Ok(None) => return done(send.send_data(Bytes::new(), true)),
                Ok(Some(Err(_))) => {
                    send.send_reset(Reason::INTERNAL_ERROR);
                    return Way::Broken;
                }
                Ok(Some(Ok(frame))) => frame,
            };
            match frame.into_data() {
                Ok(data) => {
                    let last = body.is_end_stream();
                    if let Err(way) = self.data(&mut send, data, last).await {
                        return way;
                    }
                    if last {
                        return Way::Done;
                    }
                }
                Err(frame) => return done(send.send_trailers(frame.into_trailers().unwrap_or_default())),
            }
        }
    }

    /// As much at a time as the client's window takes.
    async fn data(&mut self, send: &mut SendStream<Bytes>, mut data: Bytes, last: bool) -> Result<(), Way> {
        if data.is_empty() {
            return if last { send.send_data(data, true).map_err(|_| Way::Broken) } else { Ok(()) };
        }
        let mut deadline = None;
        while !data.is_empty() {
            send.reserve_capacity(data.len());
            let room = poll_fn(|cx| {
                while send.capacity() == 0 {
                    match send.poll_capacity(cx) {
                        Poll::Ready(Some(Ok(_))) => {}
                        Poll::Ready(_) => return Poll::Ready(Err(Way::TakenBack)),
                        Poll::Pending => break,
                    }
                }
                if send.capacity() > 0 {
                    return Poll::Ready(Ok(send.capacity()));
                }
                let deadline = *deadline.get_or_insert_with(|| clock::now() + self.idle);
                ready!(self.timer.poll(cx, deadline, deadline));
                Poll::Ready(Err(Way::Broken))
            });
            let room = match room.await {
                Ok(room) => room,
                Err(way) => {
                    send.send_reset(Reason::CANCEL);
                    return Err(way);
                }
            };
            deadline = None;
            let piece = data.split_to(room.min(data.len()));
            let end = last && data.is_empty();
            send.send_data(piece, end).map_err(|_| Way::Broken)?;
        }
        Ok(())
    }
}

fn done(sent: Result<(), h2::Error>) -> Way {
    if sent.is_ok() { Way::Done } else { Way::Broken }
}
