//! The copying after a backend's 101: both ways, with a bound on silence, half-closes kept, and a proper end for WebSockets.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::frames::{Frames, going_away};

/// Of one direction.
const BUFFER: usize = 8 << 10;
/// How long a WebSocket that we end may take for its last frames.
const FAREWELL: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct TunnelRules {
    /// Silence both ways; zero: no limit.
    pub idle: Duration,
    /// A WebSocket: told why it ends (1001).
    pub websocket: bool,
    /// The tunnel must end now.
    pub cancel: CancellationToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelEnd {
    /// Both sides are through.
    Closed,
    Idle,
    Cancelled,
    /// A side broke off.
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnelled {
    /// Bytes, without those of a close frame of ours.
    pub to_backend: u64,
    pub to_client: u64,
    pub end: TunnelEnd,
}

/// Copies both ways until both sides are done, one breaks off, or the rules end it. A side that is done sending is passed
/// on as such; the other goes on.
pub async fn tunnel<C, B>(mut client: C, mut backend: B, rules: &TunnelRules) -> Tunnelled
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut up, mut down) = (Lane::new(rules.websocket), Lane::new(rules.websocket));
    let mut silence = pin!(Silence::new(rules.idle));
    let mut cancelled = pin!(rules.cancel.cancelled());
    let end = poll_fn(|cx| {
        if cancelled.as_mut().poll(cx).is_ready() {
            return Poll::Ready(TunnelEnd::Cancelled);
        }
        let before = up.moved + down.moved;
        let sent = up.poll(cx, &mut client, &mut backend);
        let answered = down.poll(cx, &mut backend, &mut client);
        match (sent, answered) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => return Poll::Ready(TunnelEnd::Broken),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(TunnelEnd::Closed),
            _ => {}
        }
        silence.as_mut().poll(cx, up.moved + down.moved != before).map(|()| TunnelEnd::Idle)
    })
    .await;
    let (to_backend, to_client) = (up.moved, down.moved);
    if matches!(end, TunnelEnd::Cancelled | TunnelEnd::Idle) {
        let farewell = farewell(&mut client, &mut backend, up, down);
        // Who does not take it in time is cut off.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
    Tunnelled { to_backend, to_client, end }
}

/// A time-out that is moved, not armed anew, when bytes pass.
struct Silence {
    most: Duration,
    since: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    fn new(most: Duration) -> Self {
        let sleep = (!most.is_zero()).then(|| Box::pin(tokio::time::sleep(most)));
        Self { most, since: Instant::now(), sleep }
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>, moved: bool) -> Poll<()> {
        let this = self.get_mut();
        let Some(sleep) = &mut this.sleep else { return Poll::Pending };
        if moved {
            this.since = Instant::now();
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if this.since + this.most <= Instant::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(this.since + this.most);
        }
        Poll::Pending
    }
}

/// One direction.
struct Lane {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    ended: bool,
    flush: bool,
    through: bool,
    moved: u64,
    frames: Option<Frames>,
}

impl Lane {
    fn new(websocket: bool) -> Self {
        let frames = websocket.then(Frames::default);
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self { buffer, start: 0, end: 0, ended: false, flush: false, through: false, moved: 0, frames }
    }

    /// Moves what can be moved; ready when the reader has ended and the writer knows it.
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, reader: &mut R, writer: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while !self.through {
            if self.start == self.end && !self.ended && self.poll_fill(cx, reader)?.is_pending() {
                if self.flush {
                    ready!(Pin::new(writer).poll_flush(cx))?;
                    self.flush = false;
                }
                return Poll::Pending;
            }
            while self.start < self.end {
                let sent = ready!(Pin::new(&mut *writer).poll_write(cx, &self.buffer[self.start..self.end]))?;
                if sent == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.take(sent);
                self.flush = true;
            }
            if self.ended {
                ready!(Pin::new(&mut *writer).poll_shutdown(cx))?;
                self.through = true;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_fill<R: AsyncRead + Unpin>(&mut self, cx: &mut Context<'_>, reader: &mut R) -> Poll<io::Result<()>> {
        let mut into = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(reader).poll_read(cx, &mut into))?;
        (self.start, self.end) = (0, into.filled().len());
        self.ended = self.end == 0;
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, sent: usize) {
        if let Some(frames) = &mut self.frames {
            frames.pass(&self.buffer[self.start..self.start + sent]);
        }
        self.start += sent;
        self.moved += sent as u64;
    }

    /// Ends the direction where a frame ends, with a close frame if it may have one.
    async fn close<R, W>(&mut self, reader: &mut R, writer: &mut W, frame: &[u8]) -> io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if self.through {
            return Ok(());
        }
        while let Some(rest) = self.frames.as_ref().map(Frames::rest).filter(|rest| *rest > 0) {
            if self.start == self.end {
                poll_fn(|cx| self.poll_fill(cx, reader)).await?;
                if self.ended {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            let part = usize::try_from(rest).unwrap_or(usize::MAX).min(self.end - self.start);
            writer.write_all(&self.buffer[self.start..self.start + part]).await?;
            self.take(part);
        }
        if self.frames.as_ref().is_some_and(|f| !f.closed()) {
            writer.write_all(frame).await?;
        }
        writer.shutdown().await
    }
}

/// Both sides are told, then heard until they are done: what is unread when a socket closes makes the kernel take back
/// what was just sent.
async fn farewell<C, B>(client: &mut C, backend: &mut B, mut up: Lane, mut down: Lane)
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let _ = down.close(backend, client, &going_away(None)).await;
    let _ = up.close(client, backend, &going_away(Some(rand::random()))).await;
    if up.frames.is_some() {
        let mut rest = up.buffer;
        while matches!(client.read(&mut rest).await, Ok(n) if n > 0) {}
    }
}

#[cfg(test)]
mod tests;
