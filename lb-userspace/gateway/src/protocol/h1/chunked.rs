//! The length of a request's body on an HTTP/1 connection (RFC 9112 §6), decoded without I/O.

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;

use super::head;

/// Bytes of a chunk's line: 16 digits of length and its extensions, which mean nothing to us.
const LINE: usize = 256;

/// What the next bytes of a connection are to the body.
#[derive(Debug)]
pub(crate) enum Decoder {
    /// So many bytes to come.
    Length(u64),
    Chunked(Chunk),
}

#[derive(Debug)]
pub(crate) enum Chunk {
    /// A line with the next chunk's length.
    Line,
    Data(u64),
    /// The line's end after the data.
    End,
    Trailers,
}

#[derive(Debug)]
pub(crate) enum Decoded {
    Data(Bytes),
    Trailers(HeaderMap),
    /// There is no more; bytes that are left belong to the next request.
    End,
    /// More bytes are needed.
    More,
}

/// The body's framing is broken: the connection is out of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("a chunk's length is none")]
    Length,
    #[error("a chunk does not end where it should")]
    End,
    #[error("the trailer section is not valid")]
    Trailers,
    #[error("the trailer section is too large")]
    TrailersTooLarge,
    #[error("the body ended early")]
    Early,
}

impl Decoder {
    /// Takes the next piece off `input`. `limit` bounds the trailer section, in bytes and fields.
    pub(crate) fn decode(&mut self, input: &mut BytesMut, limit: (usize, usize)) -> Result<Decoded, Broken> {
        match self {
            Self::Length(0) => Ok(Decoded::End),
            Self::Length(left) => Ok(data(left, input)),
            Self::Chunked(chunk) => chunk.decode(input, limit),
        }
    }

    /// Bytes that are known to follow.
    pub(crate) const fn exact(&self) -> Option<u64> {
        match self {
            Self::Length(n) => Some(*n),
            Self::Chunked(_) => None,
        }
    }
}

fn data(left: &mut u64, input: &mut BytesMut) -> Decoded {
    if input.is_empty() {
        return Decoded::More;
    }
    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    *left -= take as u64;
    Decoded::Data(input.split_to(take).freeze())
}

impl Chunk {
    fn decode(&mut self, input: &mut BytesMut, limit: (usize, usize)) -> Result<Decoded, Broken> {
        loop {
            match self {
                Self::Line => {
                    let Some(end) = line_end(input)? else { return Ok(Decoded::More) };
                    let length = length(&input[..end])?;
                    input.advance(end + 2);
                    *self = if length == 0 { Self::Trailers } else { Self::Data(length) };
                }
                Self::Data(left) => {
                    let piece = data(left, input);
                    if *left == 0 {
                        *self = Self::End;
                    }
                    return Ok(piece);
                }
                Self::End => match input.get(..2) {
                    Some(b"\r\n") => {
                        input.advance(2);
                        *self = Self::Line;
                    }
                    None if input.is_empty() || input[..] == b"\r"[..] => return Ok(Decoded::More),
                    _ => return Err(Broken::End),
                },
                Self::Trailers => return trailers(input, limit),
            }
        }
    }
}

/// Where the CRLF of the first line is. A bare LF or CR is no line's end: others might think it is.
fn line_end(input: &[u8]) -> Result<Option<usize>, Broken> {
    let seen = &input[..input.len().min(LINE)];
    match memchr::memchr2(b'\r', b'\n', seen) {
        None if seen.len() == LINE => Err(Broken::Length),
        None => Ok(None),
        Some(at) => match (seen[at], input.get(at + 1)) {
            (b'\r', Some(b'\n')) => Ok(Some(at)),
            (b'\r', None) => Ok(None),
            _ => Err(Broken::Length),
        },
    }
}

/// `chunk-size [ chunk-ext ]` (RFC 9112 §7.1).
fn length(line: &[u8]) -> Result<u64, Broken> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if digits == 0 || digits > 16 {
        return Err(Broken::Length);
    }
    let rest = line[digits..].trim_ascii_start();
    if !(rest.is_empty() && line.len() == digits || rest.first() == Some(&b';')) {
        return Err(Broken::Length);
    }
    if rest.iter().any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f) {
        return Err(Broken::Length);
    }
    let text = std::str::from_utf8(&line[..digits]).map_err(|_| Broken::Length)?;
    u64::from_str_radix(text, 16).map_err(|_| Broken::Length)
}

fn trailers(input: &mut BytesMut, (bytes, fields): (usize, usize)) -> Result<Decoded, Broken> {
    if input.starts_with(b"\r\n") {
        input.advance(2);
        return Ok(Decoded::End);
    }
    let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else {
        return if input.len() > bytes { Err(Broken::TrailersTooLarge) } else { Ok(Decoded::More) };
    };
    if end > bytes {
        return Err(Broken::TrailersTooLarge);
    }
    let section = input.split_to(end + 4).freeze();
    head::fields_of(&section, fields).map(Decoded::Trailers).map_err(|_| Broken::Trailers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pieces: &[&str]) -> Result<(String, Option<HeaderMap>, String), Broken> {
        let mut decoder = Decoder::Chunked(Chunk::Line);
        let (mut input, mut body, mut fields) = (BytesMut::new(), String::new(), None);
        for piece in pieces {
            input.extend_from_slice(piece.as_bytes());
            loop {
                match decoder.decode(&mut input, (1024, 10))? {
                    Decoded::Data(data) => body.push_str(std::str::from_utf8(&data).expect("text")),
                    Decoded::Trailers(map) => {
                        fields = Some(map);
                        return Ok((body, fields, String::from_utf8_lossy(&input).into_owned()));
                    }
                    Decoded::End => return Ok((body, fields, String::from_utf8_lossy(&input).into_owned())),
                    Decoded::More => break,
                }
            }
        }
        Err(Broken::Early)
    }

    #[test]
    fn chunks_whole_and_byte_by_byte() {
        let text = "5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0\r\n\r\nGET";
        assert_eq!(run(&[text]), Ok(("hello world".into(), None, "GET".into())));
        let bytes: Vec<String> = text[..text.len() - 3].chars().map(String::from).collect();
        let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
        assert_eq!(run(&bytes), Ok(("hello world".into(), None, String::new())));
    }

    #[test]
    fn trailers_are_fields() {
        let (body, fields, rest) = run(&["1\r\na\r\n0\r\nX-Sum: 1\r\n\r\nrest"]).expect("a body");
        assert_eq!((body.as_str(), rest.as_str()), ("a", "rest"));
        assert_eq!(fields.expect("fields")["x-sum"], "1");
    }

    #[test]
    fn what_is_no_chunk() {
        for text in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\na\r\n",
            "0x1\r\na\r\n",
            "1\na\n0\n\n",
            "1;a\nb\r\na\r\n",
            "1\r\naX\r\n0\r\n\r\n",
            "11111111111111111\r\n",
            "1 \r\na\r\n",
            "1\r\na\r\n0\r\n X: 1\r\n\r\n",
            "1\r\na\r\n0\r\nX : 1\r\n\r\n",
            "1;\u{0}\r\na\r\n",
            "1\r\na\n\r\n",
        ] {
            assert!(run(&[text]).is_err_and(|e| e != Broken::Early), "{text:?}");
        }
        assert_eq!(run(&[&"1".repeat(300)]), Err(Broken::Length));
    }
}
