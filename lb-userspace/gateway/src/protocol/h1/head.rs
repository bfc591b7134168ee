//! A request's head on an HTTP/1 connection, from raw bytes: what is not plainly valid is refused here (RFC 9112 §2 to §6).

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use lb_model::http::Refusal;

use super::chunked::{Chunk, Decoder};
use crate::stage::Fault;

/// More fields than this are refused, whatever the listener allows.
pub(crate) const MOST_FIELDS: usize = 1_000;
/// Fields that are parsed without a larger buffer.
const USUAL_FIELDS: usize = 100;

/// A head, and what it says of the connection.
#[derive(Debug)]
pub(crate) struct Head {
    pub request: Request<()>,
    /// `None`: no body follows.
    pub body: Option<Decoder>,
    /// `Expect: 100-continue` from a client that understands the answer.
    pub expects_continue: bool,
    /// The client wants to go on with this connection.
    pub keep_alive: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes.
    pub header: usize,
    pub fields: usize,
    /// Bytes.
    pub uri: usize,
}

/// Where the head ends in what has arrived; `None`: not yet. `seen` bytes have been looked at before.
///
/// # Errors
/// More than may be, or a line that ends in a bare LF.
pub(crate) fn end(input: &[u8], seen: usize, limits: &Limits) -> Result<Option<usize>, Fault> {
    let from = seen.saturating_sub(3);
    match memchr::memmem::find(&input[from..], b"\r\n\r\n").map(|at| from + at + 4) {
        Some(end) if end <= limits.header => Ok(Some(end)),
        Some(end) => Err(too_large(&input[..end], limits)),
        None if input.len() > limits.header => Err(too_large(input, limits)),
        None => {
            let line = memchr::memchr(b'\n', input);
            if line.is_none() && input.len() > limits.uri.saturating_add(32) {
                return Err(too_large(input, limits));
            }
            if bare_line_feed(input) {
                return Err(bad("a line ends in a bare line feed"));
            }
            Ok(None)
        }
    }
}

fn too_large(input: &[u8], limits: &Limits) -> Fault {
    let line = memchr::memchr(b'\n', input).unwrap_or(input.len());
    if line > limits.uri.saturating_add(16) {
        return Fault::last(Refusal::UriTooLong, "the request's target is longer than this listener takes");
    }
    Fault::last(Refusal::HeadersTooLarge, "the request's head is longer than this listener takes")
}

const fn bad(detail: &'static str) -> Fault {
    Fault::last(Refusal::BadRequest, detail)
}

fn bare_line_feed(input: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', input).any(|at| at == 0 || input[at - 1] != b'\r')
}

/// Reads a whole head.
///
/// # Errors
/// The connection ends after the answer.
pub(crate) fn parse(head: &Bytes, limits: &Limits) -> Result<Head, Fault> {
    if bare_line_feed(head) {
        return Err(bad("a line ends in a bare line feed"));
    }
    let most = limits.fields.min(MOST_FIELDS);
    if most <= USUAL_FIELDS {
        let mut room = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
        parse_in(head, limits, &mut room[..most])
    } else {
        let mut room = vec![MaybeUninit::uninit(); most];
        parse_in(head, limits, &mut room)
    }
}

fn parse_in<'b>(
    head: &'b Bytes,
    limits: &Limits,
    room: &mut [MaybeUninit<httparse::Header<'b>>],
) -> Result<Head, Fault> {
    let mut raw = httparse::Request::new(&mut []);
    match raw.parse_with_uninit_headers(head, room) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(bad("the head does not end where it should")),
        Err(e) => return Err(unreadable(e, head)),
    }
    let target = raw.path.unwrap_or_default();
    if target.len() > limits.uri {
        return Err(Fault::last(Refusal::UriTooLong, "the request's target is longer than this listener takes"));
    }
    if target.as_bytes().contains(&b'#') {
        return Err(bad("the request's target has a fragment"));
    }
    let method =
        Method::from_bytes(raw.method.unwrap_or_default().as_bytes()).map_err(|_| bad("the method is none"))?;
    let uri = Uri::from_maybe_shared(head.slice_ref(target.as_bytes()))
        .map_err(|_| bad("the request's target is not valid"))?;
    let version = if raw.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = version;
    *request.headers_mut() = fields(head, raw.headers)?;
    frame(request)
}

fn fields(head: &Bytes, raw: &[httparse::Header<'_>]) -> Result<HeaderMap, Fault> {
    let mut map = HeaderMap::with_capacity(raw.len() + 8);
    for field in raw {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| bad("a field's name is not valid"))?;
        let value = field.value.trim_ascii();
        let value = if value.is_empty() {
            HeaderValue::from_static("")
        } else {
            HeaderValue::from_maybe_shared(head.slice_ref(value)).map_err(|_| bad("a field's value is not valid"))?
        };
        map.append(name, value);
    }
    Ok(map)
}

/// The fields of a trailer section that ends in an empty line.
pub(crate) fn fields_of(section: &Bytes, most: usize) -> Result<HeaderMap, Fault> {
    if bare_line_feed(section) {
        return Err(bad("a line ends in a bare line feed"));
    }
    let mut room = vec![httparse::EMPTY_HEADER; most.min(MOST_FIELDS)];
    match httparse::parse_headers(section, &mut room) {
        Ok(httparse::Status::Complete((_, raw))) => fields(section, raw),
        Ok(httparse::Status::Partial) | Err(_) => Err(bad("the trailer section is not valid")),
    }
}

fn unreadable(e: httparse::Error, head: &[u8]) -> Fault {
    match e {
        httparse::Error::TooManyHeaders => {
            Fault::last(Refusal::HeadersTooLarge, "the request has more fields than this listener takes")
        }
        httparse::Error::HeaderName => bad("a field's name is not valid, or a line is folded"),
        httparse::Error::HeaderValue => bad("a field's value is not valid"),
        httparse::Error::NewLine => bad("a line does not end in CR LF"),
        httparse::Error::Version if names_another_version(head) => {
            Fault::last(Refusal::VersionNotSupported, "HTTP/1.0 and HTTP/1.1 are spoken here")
        }
        httparse::Error::Version => bad("the request line does not end in a version of HTTP"),
        httparse::Error::Token | httparse::Error::Status => bad("the request line is not valid"),
    }
}

/// `HTTP/` digit `.` digit at the end of the first line (RFC 9112 §2.3).
fn names_another_version(head: &[u8]) -> bool {
    let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
    let mut words = line.split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    let digits =
        matches!(version, [b'H', b'T', b'T', b'P', b'/', a, b'.', b] if a.is_ascii_digit() && b.is_ascii_digit());
    digits && !method.is_empty() && !target.is_empty()
}

/// Does a body follow, and does the connection go on (RFC 9112 §6.3, §9.3)?
fn frame(request: Request<()>) -> Result<Head, Fault> {
    let is_11 = request.version() == Version::HTTP_11;
    let headers = request.headers();
    let body = match (headers.get(TRANSFER_ENCODING), headers.get(CONTENT_LENGTH)) {
        (None, None) => None,
        (Some(_), Some(_)) => return Err(bad("both Transfer-Encoding and Content-Length")),
        (Some(_), None) if !is_11 => return Err(bad("Transfer-Encoding in HTTP/1.0")),
        (Some(coding), None) => {
            let one = headers.get_all(TRANSFER_ENCODING).iter().nth(1).is_none();
            if !one || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(bad("Transfer-Encoding is not chunked, once"));
            }
            Some(Decoder::Chunked(Chunk::Line))
        }
        (None, Some(length)) => {
            if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
                return Err(bad("more than one Content-Length"));
            }
            let digits = length.as_bytes();
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return Err(bad("Content-Length is not a number"));
            }
            let length = length.to_str().ok().and_then(|t| t.parse().ok());
            let length: u64 = length.ok_or_else(|| bad("Content-Length is not a number"))?;
            (length > 0).then_some(Decoder::Length(length))
        }
    };
    let (mut close, mut keep) = (false, false);
    for line in headers.get_all(CONNECTION) {
        for token in line.as_bytes().split(|b| *b == b',') {
            let token = token.trim_ascii();
            close |= token.eq_ignore_ascii_case(b"close");
            keep |= token.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    let expects_continue = is_11
        && body.is_some()
        && headers.get(EXPECT).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    Ok(Head { keep_alive: !close && (is_11 || keep), body, expects_continue, request })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { header: 1024, fields: 10, uri: 100 };

    fn read(text: &str) -> Result<Head, Fault> {
        parse(&Bytes::copy_from_slice(text.as_bytes()), &LIMITS)
    }

    #[test]
    fn a_plain_head() {
        let head =
            read("POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n").expect("valid");
        assert_eq!(head.request.uri(), "/a?b");
        assert_eq!(head.body.expect("a body").exact(), Some(3));
        assert!(head.keep_alive && head.expects_continue);
        assert!(!read("GET / HTTP/1.0\r\n\r\n").expect("valid").keep_alive);
        assert!(read("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").expect("valid").keep_alive);
        assert!(!read("GET / HTTP/1.1\r\nConnection: x\r\nConnection: y, close\r\n\r\n").expect("valid").keep_alive);
    }

    #[test]
    fn what_is_refused() {
        for (text, refusal) in [
            ("GET /\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/2.0\r\n\r\n", Refusal::VersionNotSupported),
            ("GET / HTTP/9.9\r\n\r\n", Refusal::VersionNotSupported),
            ("GET / JUNK/1.1\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1x\r\n\r\n", Refusal::BadRequest),
            ("GET  / HTTP/1.1\r\n\r\n", Refusal::BadRequest),
            ("GET /  HTTP/1.1\r\n\r\n", Refusal::BadRequest),
            ("GET /a b HTTP/1.1\r\n\r\n", Refusal::BadRequest),
            ("GET /#a HTTP/1.1\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\nA : b\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\n A: b\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\nA: b\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\nA: b\n\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\nContent-Length: \r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", Refusal::BadRequest),
        ] {
            let fault = read(text).expect_err(text);
            assert_eq!((fault.refusal, fault.close), (refusal, true), "{text:?}");
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(11));
        assert_eq!(read(&many).expect_err("too many").refusal, Refusal::HeadersTooLarge);
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100));
        assert_eq!(read(&long).expect_err("too long").refusal, Refusal::UriTooLong);
    }

    #[test]
    fn heads_end_at_the_empty_line_or_the_limit() {
        assert_eq!(end(b"GET / HTTP/1.1\r\n\r\nx", 0, &LIMITS), Ok(Some(18)));
        assert_eq!(end(b"GET / HTTP/1.1\r\n\r\n", 17, &LIMITS), Ok(Some(18)));
        assert_eq!(end(b"GET / HTTP/1.1\r\n", 0, &LIMITS), Ok(None));
        assert!(end(b"GET / HTTP/1.1\n\n", 0, &LIMITS).is_err());
        let long = vec![b'a'; 200];
        assert_eq!(end(&long, 0, &LIMITS).expect_err("too long").refusal, Refusal::UriTooLong);
        let mut large = b"GET / HTTP/1.1\r\n".to_vec();
        large.resize(2000, b'a');
        assert_eq!(end(&large, 0, &LIMITS).expect_err("too large").refusal, Refusal::HeadersTooLarge);
    }
}
