//! Heads: what a request must look like on a backend's protocol, and what a response must not.

use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, StatusCode, Uri, Version, response};

/// RFC 9110 §9.2.2; QUERY is safe.
pub(crate) fn is_idempotent(method: &Method) -> bool {
    method.is_idempotent() || method.as_str() == "QUERY"
}

/// HTTP/1.1: origin form, Host. `empty`: there is no body.
pub(crate) fn for_h1(head: &mut Parts, empty: bool) {
    head.version = Version::HTTP_11;
    if head.uri.authority().is_some() {
        let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        head.uri = Uri::from(path);
    }
    // RFC 9110 §8.6: methods that mean a body say so when there is none.
    if empty
        && matches!(head.method, Method::POST | Method::PUT | Method::PATCH)
        && !head.headers.contains_key(CONTENT_LENGTH)
    {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}

/// HTTP/2: the target in pseudo-fields, nothing of the connection's (RFC 9113 §8.2.2, §8.3.1). `None`: Host is none.
pub(crate) fn for_h2(head: &mut Parts, tls: bool) -> Option<()> {
    head.version = Version::HTTP_2;
    let host = head.headers.remove(HOST);
    let authority = match &host {
        Some(host) => Some(Authority::try_from(host.as_bytes()).ok()?),
        None => head.uri.authority().cloned(),
    };
    for name in [CONNECTION, UPGRADE, TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    head.headers.remove(HeaderName::from_static("keep-alive"));
    head.headers.remove(HeaderName::from_static("proxy-connection"));
    if head.headers.get(TE).is_some_and(|te| te != "trailers") {
        head.headers.remove(TE);
    }
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    uri.authority = Some(authority?);
    uri.path_and_query = Some(head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    head.uri = Uri::from_parts(uri).ok()?;
    Some(())
}

/// What a response's head says of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    /// To be passed on, and the connection closed after it.
    Last,
    Bad(&'static str),
}

/// Checks what the parser leaves to us (RFC 9112 §6.1, §6.3); takes a length out that the framing contradicts.
/// `wanted`: what the request asked to upgrade to.
pub(crate) fn check(head: &mut response::Parts, h2: bool, wanted: Option<&HeaderValue>) -> Verdict {
    let lengths = head.headers.get_all(CONTENT_LENGTH).iter().count();
    let encodings = head.headers.get_all(TRANSFER_ENCODING).iter().count();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return switching(head, h2, wanted);
    }
    if lengths > 0
        && let Some(verdict) = check_length(&mut head.headers, lengths)
    {
        return verdict;
    }
    if encodings == 0 {
        return Verdict::Fine;
    }
    let chunked = |v: &HeaderValue| v.as_bytes().eq_ignore_ascii_case(b"chunked");
    if h2 || encodings > 1 || head.version != Version::HTTP_11 {
        return Verdict::Bad("the answer's Transfer-Encoding is not valid");
    }
    if !head.headers.get(TRANSFER_ENCODING).is_some_and(chunked) {
        return Verdict::Bad("the answer's Transfer-Encoding is not 'chunked'");
    }
    if lengths > 0 {
        head.headers.remove(CONTENT_LENGTH);
        return Verdict::Last;
    }
    Verdict::Fine
}

/// One length, of digits alone; the same one several times becomes one (RFC 9110 §8.6).
fn check_length(headers: &mut HeaderMap, count: usize) -> Option<Verdict> {
    let first = headers.get(CONTENT_LENGTH)?;
    let single = !first.as_bytes().is_empty() && first.as_bytes().iter().all(u8::is_ascii_digit);
    if single && count == 1 {
        return None;
    }
    let mut same = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for part in value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            let digits = !part.is_empty() && part.iter().all(u8::is_ascii_digit);
            if !digits || same.is_some_and(|s: &[u8]| s != part) {
                return Some(Verdict::Bad("the answer's Content-Length is not valid"));
            }
            same = Some(part);
        }
    }
    let value = same.and_then(|s| HeaderValue::from_bytes(s).ok())?;
    headers.insert(CONTENT_LENGTH, value);
    None
}

/// A 101 is one only if it was asked for (RFC 9110 §7.8).
fn switching(head: &response::Parts, h2: bool, wanted: Option<&HeaderValue>) -> Verdict {
    const BAD: Verdict = Verdict::Bad("the answer switches to a protocol that was not asked for");
    let Some(wanted) = wanted.and_then(|v| v.to_str().ok()).filter(|_| !h2) else { return BAD };
    let Some(got) = head.headers.get(UPGRADE).and_then(|v| v.to_str().ok()) else { return BAD };
    let asked = |protocol: &str| wanted.split(',').any(|w| w.trim().eq_ignore_ascii_case(protocol.trim()));
    if got.split(',').all(asked) { Verdict::Last } else { BAD }
}

pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
