//! A response on its way to an HTTP/1 client: the head as bytes, the body framed (RFC 9112 §6).

use std::future::poll_fn;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use http_body::Body as HttpBody;

use super::wire::Wire;
use crate::protocol::timer::Timer;
use crate::{clock, digits};

/// Frames up to this size are copied behind what is already to be written; larger ones are written from where they are.
const COPIED: usize = 8 << 10;
/// Bytes gathered before they are written though more is at hand.
const GATHERED: usize = 64 << 10;

/// What the request said that decides how the response is framed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub version: Version,
    pub head: bool,
    /// The connection goes on if the response lets it.
    pub keep_alive: bool,
    /// Silence in the response's way to the client.
    pub idle: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    None,
    Length(u64),
    Chunked,
    /// Until the connection ends.
    Close,
}

/// How the connection stands after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    KeepAlive,
    Close,
    /// A 101 was sent.
    Tunnel,
    /// Broken off in the middle of a response.
    Broken,
}

/// Writes a whole response; `out` is a buffer that is used again.
pub(crate) async fn send<B>(
    wire: &Wire,
    response: Response<B>,
    asked: Asked,
    date: &HeaderValue,
    timer: &mut Timer,
    out: &mut Vec<u8>,
) -> After
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let (parts, body) = response.into_parts();
    let (framing, keep_alive) = encode(parts.status, &parts.headers, &body, asked, date, out);
    drop(parts.headers);
    let mut sending = Sending { wire, out, timer, idle: asked.idle, framing };
    let sent = if framing == Framing::None {
        drop(body);
        sending.flush().await
    } else {
        sending.body(body).await
    };
    match sent {
        Err(_) => After::Broken,
        Ok(()) if parts.status == StatusCode::SWITCHING_PROTOCOLS => After::Tunnel,
        Ok(()) if keep_alive => After::KeepAlive,
        Ok(()) => After::Close,
    }
}

/// Writes an interim answer (RFC 9110 §15.2).
pub(crate) async fn interim(
    wire: &Wire,
    status: StatusCode,
    fields: &HeaderMap,
    idle: Duration,
    timer: &mut Timer,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    status_line(out, status);
    for (name, value) in fields {
        field(out, name.as_str(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    Sending { wire, out, timer, idle, framing: Framing::None }.flush().await
}

/// Writes the head into `out`. Returns the body's framing and whether the connection goes on.
fn encode<B: HttpBody>(
    status: StatusCode,
    headers: &HeaderMap,
    body: &B,
    asked: Asked,
    date: &HeaderValue,
    out: &mut Vec<u8>,
) -> (Framing, bool) {
    let bodiless = asked.head
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    let lengthless = status.is_informational() || status == StatusCode::NO_CONTENT;
    let exact = body.size_hint().exact();
    let framing = match exact {
        _ if bodiless => Framing::None,
        Some(length) => Framing::Length(length),
        None if asked.version == Version::HTTP_11 => Framing::Chunked,
        None => Framing::Close,
    };
    let tunnel = status == StatusCode::SWITCHING_PROTOCOLS;
    let closes = headers.get_all(CONNECTION).iter().any(|v| v.as_bytes().eq_ignore_ascii_case(b"close"));
    let keep_alive = asked.keep_alive && !closes && framing != Framing::Close;
    status_line(out, status);
    for (name, value) in headers {
        let ours = *name == TRANSFER_ENCODING
            || (*name == CONNECTION && !tunnel)
            || (*name == CONTENT_LENGTH && (framing != Framing::None || lengthless));
        if !ours {
            field(out, name.as_str(), value.as_bytes());
        }
    }
    match framing {
        Framing::Length(length) => {
            content_length(out, length);
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::None if asked.head && !headers.contains_key(CONTENT_LENGTH) && exact.is_some_and(|n| n > 0) => {
            content_length(out, exact.unwrap_or_default());
        }
        Framing::None | Framing::Close => {}
    }
    if !headers.contains_key(DATE) {
        field(out, "date", date.as_bytes());
    }
    if tunnel {
    } else if !keep_alive {
        out.extend_from_slice(b"connection: close\r\n");
    } else if asked.version != Version::HTTP_11 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
    (framing, keep_alive)
}

fn status_line(out: &mut Vec<u8>, status: StatusCode) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn content_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    digits::number(out, length);
    out.extend_from_slice(b"\r\n");
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

struct Sending<'a> {
    wire: &'a Wire,
    out: &'a mut Vec<u8>,
    timer: &'a mut Timer,
    idle: Duration,
    framing: Framing,
}

impl Sending<'_> {
    /// The body is dropped, and with it the request counted, before its last bytes are written: who has the response
    /// finds it in the counts.
    async fn body<B>(&mut self, mut body: B) -> io::Result<()>
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        let mut left = match self.framing {
            Framing::Length(length) => length,
            _ => u64::MAX,
        };
        let mut waited = false;
        loop {
            if left == 0 {
                break;
            }
            let frame = match poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await {
                Poll::Ready(frame) => frame,
                // What is at hand goes out before waiting; but a backend's task that is about to run may have the rest.
                Poll::Pending if !waited => {
                    waited = true;
                    tokio::task::yield_now().await;
                    continue;
                }
                Poll::Pending => {
                    self.flush().await?;
                    self.next(&mut body).await?
                }
            };
            let Some(frame) = frame else { break };
            let Ok(frame) = frame else {
                // What came of it is the client's; that the connection ends says that it is not all.
                self.flush().await?;
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            match frame.into_data() {
                Ok(data) => {
                    // More than was announced would be taken for the next response.
                    let fits = left.min(data.len() as u64);
                    left = if left == u64::MAX { left } else { left - fits };
                    self.data(data.slice(..usize::try_from(fits).unwrap_or(data.len()))).await?;
                }
                Err(frame) => {
                    if let (Framing::Chunked, Ok(fields)) = (self.framing, frame.into_trailers()) {
                        self.out.extend_from_slice(b"0\r\n");
                        for (name, value) in &fields {
                            field(self.out, name.as_str(), value.as_bytes());
                        }
                        self.out.extend_from_slice(b"\r\n");
                        drop(body);
                        return self.flush().await;
                    }
                }
            }
        }
        drop(body);
        match self.framing {
            Framing::Chunked => self.out.extend_from_slice(b"0\r\n\r\n"),
            Framing::Length(_) if left > 0 => {
                self.flush().await?;
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            _ => {}
        }
        self.flush().await
    }

    /// Waits for the body's next frame; ends when the client goes.
    async fn next<B>(&mut self, body: &mut B) -> io::Result<Option<Result<http_body::Frame<Bytes>, B::Error>>>
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        poll_fn(|cx| {
            if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
                return Poll::Ready(Ok(frame));
            }
            ready!(self.wire.poll_gone(cx));
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        })
        .await
    }

    async fn data(&mut self, mut data: Bytes) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let chunked = self.framing == Framing::Chunked;
        if chunked {
            // Writing into a Vec cannot fail.
            let _ = write!(self.out, "{:x}\r\n", data.len());
        }
        if data.len() <= COPIED {
            self.out.extend_from_slice(&data);
        } else {
            self.write(&mut data).await?;
        }
        if chunked {
            self.out.extend_from_slice(b"\r\n");
        }
        if self.out.len() >= GATHERED { self.flush().await } else { Ok(()) }
    }

    /// Writes what is gathered and then `data`, without copying it.
    async fn write(&mut self, data: &mut Bytes) -> io::Result<()> {
        let mut at = 0;
        let mut deadline = None;
        poll_fn(|cx| {
            while at < self.out.len() || !data.is_empty() {
                match self.wire.poll_write_two(cx, &self.out[at..], data) {
                    Poll::Ready(written) => {
                        let written = written?;
                        if written == 0 {
                            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                        }
                        let of_out = written.min(self.out.len() - at);
                        at += of_out;
                        data.advance(written - of_out);
                        deadline = None;
                    }
                    Poll::Pending => return patience(self.timer, cx, &mut deadline, self.idle),
                }
            }
            Poll::Ready(Ok(()))
        })
        .await?;
        self.out.clear();
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.write(&mut Bytes::new()).await?;
        poll_fn(|cx| self.wire.poll_flush(cx)).await
    }
}

/// A client that does not read for so long is given up.
fn patience(
    timer: &mut Timer,
    cx: &mut Context<'_>,
    deadline: &mut Option<std::time::Instant>,
    idle: Duration,
) -> Poll<io::Result<()>> {
    let deadline = *deadline.get_or_insert_with(|| clock::now() + idle);
    ready!(timer.poll(cx, deadline, deadline));
    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
}
