//! Bodies read from an open file, off the worker's thread: small ones at once, others piece by piece.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body as HttpBody, Frame, SizeHint};
use lb_message::{Body, BoxError};
use tokio::task::JoinHandle;

use crate::open::Opened;

/// Bytes of a piece.
pub(crate) const PIECE: u64 = 64 << 10;

/// What is sent, in order.
#[derive(Debug)]
enum Part {
    Text(Bytes),
    Bytes(Range<u64>),
}

/// Pieces of one file, and texts between them.
#[derive(Debug)]
struct FileBody {
    file: Arc<File>,
    /// The next last.
    parts: Vec<Part>,
    left: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

pub(crate) fn part(opened: Opened, range: Range<u64>) -> Body {
    if range.is_empty() {
        return Body::Empty;
    }
    if let Some(whole) = &opened.whole {
        // As long as the file, so that both ends are within.
        let at = |n: u64| usize::try_from(n).unwrap_or(whole.len()).min(whole.len());
        return Body::full(whole.slice(at(range.start)..at(range.end)));
    }
    let left = range.end - range.start;
    Body::boxed(FileBody { file: Arc::new(opened.file), parts: vec![Part::Bytes(range)], left, reading: None })
}

/// `multipart/byteranges` (RFC 9110 §14.6): the body, its boundary, its length.
pub(crate) fn parts(opened: Opened, ranges: Vec<Range<u64>>, media: Option<&HeaderValue>) -> (Body, String, u64) {
    // Not in the file, as far as anybody can arrange: it depends on the file's inode, date and length.
    let tag = opened.tag(std::time::SystemTime::UNIX_EPOCH);
    let boundary: String = tag.chars().filter(char::is_ascii_alphanumeric).collect();
    let boundary = format!("lb-{boundary}");
    let length = opened.length;
    let media = media.and_then(|m| m.to_str().ok()).unwrap_or("application/octet-stream");
    let mut parts = Vec::new();
    for range in ranges {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: {media}\r\nContent-Range: bytes {}-{}/{length}\r\n\r\n",
            range.start,
            range.end - 1
        );
        parts.push(Part::Text(head.into()));
        parts.push(Part::Bytes(range));
    }
    parts.push(Part::Text(format!("\r\n--{boundary}--\r\n").into()));
    let total = parts.iter().map(|p| if let Part::Bytes(r) = p { r.end - r.start } else { text_length(p) }).sum();
    parts.reverse();
    (Body::boxed(FileBody { file: Arc::new(opened.file), parts, left: total, reading: None }), boundary, total)
}

fn text_length(part: &Part) -> u64 {
    if let Part::Text(text) = part { text.len() as u64 } else { 0 }
}

/// A file that became shorter while it was sent: an error, for the length is promised.
pub(crate) fn read(file: &File, range: Range<u64>) -> io::Result<Bytes> {
    let mut piece = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
    file.read_exact_at(&mut piece, range.start)?;
    Ok(piece.into())
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            if let Some(reading) = &mut this.reading {
                let piece = ready!(Pin::new(reading).poll(cx));
                this.reading = None;
                return Poll::Ready(Some(match piece {
                    Ok(Ok(piece)) => {
                        this.left -= piece.len() as u64;
                        Ok(Frame::data(piece))
                    }
                    Ok(Err(e)) => {
                        this.parts.clear();
                        Err(e.into())
                    }
                    Err(e) => {
                        this.parts.clear();
                        Err(e.into())
                    }
                }));
            }
            match this.parts.pop() {
                None => return Poll::Ready(None),
                Some(Part::Text(text)) => {
                    this.left -= text.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::data(text))));
                }
                Some(Part::Bytes(range)) => {
                    let end = range.end.min(range.start + PIECE);
                    if end < range.end {
                        this.parts.push(Part::Bytes(end..range.end));
                    }
                    let (file, piece) = (this.file.clone(), range.start..end);
                    this.reading = Some(tokio::task::spawn_blocking(move || read(&file, piece)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.reading.is_none() && self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
