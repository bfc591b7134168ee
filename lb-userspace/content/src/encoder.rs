//! A body encoded as it passes: nothing waits in the encoder while the source is silent.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use async_compression::Level;
use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use lb_message::{Body, BoxError};
use lb_model::http::Coding;
use tokio::io::AsyncWrite;

/// Bytes encoded at a time, so that a large body does not hold up the others of its worker.
const STEP: usize = 32 << 10;
/// Encoded bytes that are passed on at once.
const ENOUGH: usize = 16 << 10;

/// Into memory, which is always ready.
#[derive(Debug)]
enum Encoder {
    Brotli(Box<BrotliEncoder<Vec<u8>>>),
    Gzip(Box<GzipEncoder<Vec<u8>>>),
    Zstd(Box<ZstdEncoder<Vec<u8>>>),
}

impl Encoder {
    /// Levels at which text is a quarter of its size for some tens of nanoseconds a byte at most.
    fn new(coding: Coding) -> Self {
        let out = Vec::new();
        match coding {
            Coding::Brotli => Self::Brotli(Box::new(BrotliEncoder::with_quality(out, Level::Precise(4)))),
            Coding::Gzip => Self::Gzip(Box::new(GzipEncoder::with_quality(out, Level::Precise(5)))),
            Coding::Zstd => Self::Zstd(Box::new(ZstdEncoder::with_quality(out, Level::Precise(3)))),
        }
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        Pin::new(match self {
            Self::Brotli(e) => &mut **e,
            Self::Gzip(e) => &mut **e,
            Self::Zstd(e) => &mut **e,
        })
    }

    fn out(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Brotli(e) => e.get_mut(),
            Self::Gzip(e) => e.get_mut(),
            Self::Zstd(e) => e.get_mut(),
        }
    }
}

#[derive(Debug)]
enum Source {
    Open(Body),
    /// It has ended: the encoder is to be finished.
    Ended(Option<HeaderMap>),
    /// The encoder is, too.
    Finished(Option<HeaderMap>),
}

/// A body in a content coding.
#[derive(Debug)]
pub(crate) struct Encoded {
    encoder: Encoder,
    source: Source,
    /// Read, not yet encoded.
    input: Bytes,
    /// Something is in the encoder that was not flushed.
    dirty: bool,
    /// Every frame is an event: flushed at once.
    events: bool,
}

impl Encoded {
    pub(crate) fn new(coding: Coding, source: Body, events: bool) -> Self {
        let encoder = Encoder::new(coding);
        Self { encoder, source: Source::Open(source), input: Bytes::new(), dirty: false, events }
    }

    /// What is encoded, if anything is.
    fn take(&mut self) -> Option<Frame<Bytes>> {
        let out = std::mem::take(self.encoder.out());
        (!out.is_empty()).then(|| Frame::data(out.into()))
    }

    /// Encodes one step of the input.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let length = self.input.len().min(STEP);
        let written = ready!(self.encoder.writer().poll_write(cx, &self.input[..length]))?;
        if written == 0 {
            return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
        }
        let _ = self.input.split_to(written);
        self.dirty = true;
        if self.events && self.input.is_empty() {
            ready!(self.flush(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.dirty = false;
        self.encoder.writer().poll_flush(cx)
    }
}

impl HttpBody for Encoded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            if !this.input.is_empty() {
                ready!(this.step(cx))?;
                let enough = this.encoder.out().len() >= ENOUGH || (this.events && this.input.is_empty());
                if enough && let Some(frame) = this.take() {
                    return Poll::Ready(Some(Ok(frame)));
                }
                continue;
            }
            match &mut this.source {
                Source::Open(body) => match pin!(body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => this.input = data,
                        Err(frame) => this.source = Source::Ended(frame.into_trailers().ok()),
                    },
                    Poll::Ready(Some(Err(e))) => return Poll::Ready(Some(Err(e))),
                    Poll::Ready(None) => this.source = Source::Ended(None),
                    Poll::Pending => {
                        if this.dirty {
                            ready!(this.flush(cx))?;
                        }
                        return this.take().map_or(Poll::Pending, |frame| Poll::Ready(Some(Ok(frame))));
                    }
                },
                Source::Ended(trailers) => {
                    let trailers = trailers.take();
                    ready!(this.encoder.writer().poll_shutdown(cx))?;
                    this.source = Source::Finished(trailers);
                    if let Some(frame) = this.take() {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Source::Finished(trailers) => return Poll::Ready(trailers.take().map(|t| Ok(Frame::trailers(t)))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.source, Source::Finished(None))
    }
}
