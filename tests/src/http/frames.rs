//! A client of HTTP/2 that makes its frames by hand (RFC 9113 §4, RFC 7541), so that it can send what is not allowed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use rustls::ClientConfig;

use super::stream::{Read1, Stream};
use crate::clock;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const ACK: u8 = 1;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// What became of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The status and the body's length.
    Answer(u16, usize),
    /// The stream's error code.
    Reset(u32),
    /// The connection's error code.
    GoAway(u32),
    Closed,
}

/// The bytes of a frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Field lines as HPACK literals without indexing and without Huffman coding: any byte can be said.
#[must_use]
pub fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            integer(&mut out, 7, 0, text.len());
            out.extend_from_slice(text);
        }
    }
    out
}

/// An integer with a prefix of `bits` bits (RFC 7541 §5.1).
pub fn integer(out: &mut Vec<u8>, bits: u8, first: u8, mut value: usize) {
    let most = (1 << bits) - 1;
    if value < most {
        out.push(first | u8::try_from(value).unwrap_or(0));
        return;
    }
    out.push(first | u8::try_from(most).unwrap_or(0));
    value -= most;
    while value >= 128 {
        out.push(u8::try_from(value % 128).unwrap_or(0) | 128);
        value /= 128;
    }
    out.push(u8::try_from(value).unwrap_or(0));
}

/// The status at the beginning of a response's block; the table is kept empty by our SETTINGS, so that no state is needed.
fn status(block: &[u8]) -> Result<u16> {
    // A change of the table's size may come first (§6.3).
    let start = block.iter().position(|b| b & 0xe0 != 0x20).unwrap_or(0);
    let block = &block[start..];
    let known = [200, 204, 206, 304, 400, 404, 500];
    match block {
        [first @ 0x88..=0x8e, ..] => Ok(known[usize::from(first - 0x88)]),
        [0x08 | 0x18 | 0x48, 3, a, b, c, ..] => Ok(std::str::from_utf8(&[*a, *b, *c])?.parse()?),
        [0x08 | 0x18 | 0x48, length, rest @ ..] if length & 0x80 != 0 => {
            digits(rest.get(..usize::from(length & 0x7f)).unwrap_or_default())
        }
        _ => bail!("no status at the beginning of {:x?}", &block[..block.len().min(8)]),
    }
}

/// Digits in Huffman coding (RFC 7541 appendix B): `0` to `2` have five bits, the others six.
fn digits(bytes: &[u8]) -> Result<u16> {
    let bits: Vec<u8> = bytes.iter().flat_map(|b| (0..8).rev().map(move |i| b >> i & 1)).collect();
    let read = |at: usize, n: usize| bits.get(at..at + n).map(|b| b.iter().fold(0, |v, bit| v << 1 | u16::from(*bit)));
    let (mut at, mut value) = (0, 0);
    for _ in 0..3 {
        let (digit, taken) = match (read(at, 5), read(at, 6)) {
            (Some(d @ 0..=2), _) => (d, 5),
            (_, Some(d @ 0x19..=0x1f)) => (d - 0x19 + 3, 6),
            _ => bail!("no digits in {bytes:x?}"),
        };
        value = value * 10 + digit;
        at += taken;
    }
    Ok(value)
}

/// The connection.
#[derive(Debug)]
pub struct Frames {
    pub stream: Stream,
    buffer: Vec<u8>,
    pub patience: Duration,
    /// Whether received data is acknowledged by window updates.
    pub opens_windows: bool,
    /// The last stream that GOAWAY named, once it came.
    pub leaving: Option<u32>,
}

impl Frames {
    /// Clear text with prior knowledge, our SETTINGS sent.
    ///
    /// # Errors
    /// If nobody listens.
    pub fn clear(to: SocketAddr, settings: &[(u16, u32)]) -> Result<Self> {
        Self::begin(Stream::connect(to)?, settings)
    }

    /// # Errors
    /// If the handshake fails or another protocol is chosen.
    pub fn tls(to: SocketAddr, name: &str, config: &Arc<ClientConfig>, settings: &[(u16, u32)]) -> Result<Self> {
        let stream = Stream::connect_tls(to, name, config)?;
        ensure!(stream.alpn() == Some(b"h2"), "ALPN chose {:?}", stream.alpn());
        Self::begin(stream, settings)
    }

    fn begin(stream: Stream, settings: &[(u16, u32)]) -> Result<Self> {
        let mut all = vec![(1, 0)];
        all.extend_from_slice(settings);
        let payload: Vec<u8> =
            all.iter().flat_map(|(id, v)| id.to_be_bytes().into_iter().chain(v.to_be_bytes())).collect();
        let mut this =
            Self { stream, buffer: Vec::new(), patience: Duration::from_secs(10), opens_windows: true, leaving: None };
        this.raw(&[PREFACE, &frame(SETTINGS, 0, 0, &payload)].concat())?;
        Ok(this)
    }

    /// # Errors
    /// If the other side has gone.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.send(bytes)?)
    }

    /// # Errors
    /// If the other side has gone.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<()> {
        self.raw(&frame(kind, flags, stream, payload))
    }

    /// Sends a request's head with these fields, pseudo-fields included.
    ///
    /// # Errors
    /// If the other side has gone.
    pub fn request(&mut self, stream: u32, fields: &[(&[u8], &[u8])], ends: bool) -> Result<()> {
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        self.send(HEADERS, flags, stream, &block(fields))
    }

    /// The next frame, or how the connection ended.
    ///
    /// # Errors
    /// If none comes in time.
    pub fn receive(&mut self) -> Result<Option<Frame>> {
        let by = clock::now() + self.patience;
        loop {
            if let Some(frame) = self.take() {
                self.mind(&frame);
                return Ok(Some(frame));
            }
            match self.stream.read_by(by, &mut self.buffer)? {
                Read1::Bytes(_) => {}
                Read1::End | Read1::Reset => return Ok(None),
                Read1::Late => bail!("no frame within {:?}", self.patience),
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let head = self.buffer.first_chunk::<9>()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if self.buffer.len() < 9 + length {
            return None;
        }
        let payload = self.buffer.drain(..9 + length).skip(9).collect();
        Some(Frame { kind, flags, stream, payload })
    }

    /// What every client does about a frame; the other side may have gone meanwhile.
    fn mind(&mut self, got: &Frame) {
        match (got.kind, got.flags & ACK) {
            (SETTINGS, 0) => drop(self.send(SETTINGS, ACK, 0, &[])),
            (GOAWAY, _) => self.leaving = got.payload.first_chunk().map(|b| u32::from_be_bytes(*b)),
            (PING, 0) => drop(self.send(PING, ACK, 0, &got.payload.clone())),
            (DATA, _) if self.opens_windows && !got.payload.is_empty() => {
                let more = u32::try_from(got.payload.len()).unwrap_or(0).to_be_bytes();
                drop(self.send(WINDOW_UPDATE, 0, 0, &more));
                drop(self.send(WINDOW_UPDATE, 0, got.stream, &more));
            }
            _ => {}
        }
    }

    /// Reads until it is known what became of a stream.
    ///
    /// # Errors
    /// If that does not show in time.
    pub fn outcome(&mut self, stream: u32) -> Result<Outcome> {
        let (mut code, mut length) = (0, 0);
        loop {
            let Some(got) = self.receive()? else { return Ok(Outcome::Closed) };
            let number =
                |at: usize| got.payload.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
            match got.kind {
                GOAWAY if number(4) != 0 => return Ok(Outcome::GoAway(number(4))),
                RST_STREAM if got.stream == stream => return Ok(Outcome::Reset(number(0))),
                HEADERS if got.stream == stream && (code == 0 || code / 100 == 1) => code = status(&got.payload)?,
                DATA if got.stream == stream => length += got.payload.len(),
                _ => {}
            }
            if got.stream == stream && matches!(got.kind, HEADERS | DATA) && got.flags & END_STREAM != 0 {
                return Ok(Outcome::Answer(code, length));
            }
        }
    }

    /// Reads until the other side says GOAWAY with an error or closes; gives that code.
    ///
    /// # Errors
    /// If it does neither in time.
    pub fn given_up(&mut self) -> Result<Outcome> {
        self.outcome(u32::MAX)
    }
}

/// The pseudo-fields of a GET.
#[must_use]
pub fn get<'a>(authority: &'a str, path: &'a str) -> Vec<(&'a [u8], &'a [u8])> {
    vec![
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":authority", authority.as_bytes()),
        (b":path", path.as_bytes()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_in_every_coding() {
        assert_eq!(status(&[0x88]).expect("indexed"), 200);
        assert_eq!(status(&[0x20, 0x8d]).expect("after a table size"), 404);
        assert_eq!(status(b"\x08\x03431").expect("plain"), 431);
        // RFC 7541 C.6.1: "302" in Huffman coding.
        assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]).expect("Huffman"), 302);
    }

    #[test]
    fn long_integers_are_coded_as_the_standard_shows() {
        let mut out = Vec::new();
        integer(&mut out, 5, 0, 1337);
        assert_eq!(out, [31, 154, 10]);
    }
}
