//! Content codings towards the client (RFC 9110 §8.4, §12.5.3): which one, and the response encoded with it.

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;
use lb_message::Body;
use lb_model::http::{Coding, Compress};

use crate::encoder::Encoded;

/// The coding for a client: the highest q wins, at equal q the route's order. `None`: as it is.
#[must_use]
pub fn negotiate(compress: &Compress, accept_encoding: &HeaderMap) -> Option<Coding> {
    best(&compress.algorithms, accept_encoding)
}

/// See [`negotiate`].
pub(crate) fn best(order: &[Coding], headers: &HeaderMap) -> Option<Coding> {
    if !headers.contains_key(ACCEPT_ENCODING) {
        return None;
    }
    // RFC 9110 §12.5.3: identity is acceptable unless excluded, and worth nothing beside a coding that is named.
    let identity = weight(headers, "identity", false).unwrap_or(0);
    let mut best = None;
    for coding in order {
        let q = weight(headers, coding.as_str(), true).unwrap_or(0);
        if q > best.map_or(0, |(q, _)| q) && q >= identity {
            best = Some((q, *coding));
        }
    }
    best.map(|(_, coding)| coding)
}

/// In thousandths; `None`: not named (nor by `*`, if that counts).
fn weight(headers: &HeaderMap, coding: &str, star: bool) -> Option<u16> {
    let mut any = None;
    for value in headers.get_all(ACCEPT_ENCODING) {
        for item in value.to_str().unwrap_or("").split(',') {
            let mut parts = item.split(';');
            let name = parts.next().unwrap_or("").trim();
            let q = || {
                parts
                    .find_map(|p| p.trim().strip_prefix(['q', 'Q'])?.trim_start().strip_prefix('='))
                    .map_or(1000, thousandths)
            };
            // x-gzip is gzip (RFC 9110 §8.4.1.3).
            if name.eq_ignore_ascii_case(coding) || (coding == "gzip" && name.eq_ignore_ascii_case("x-gzip")) {
                let mut q = q;
                return Some(q());
            }
            if star && name == "*" {
                let mut q = q;
                any = Some(q());
            }
        }
    }
    any
}

/// A weight (RFC 9110 §12.4.2); what is none counts as 0.
fn thousandths(text: &str) -> u16 {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return 0;
    }
    match whole {
        "1" if fraction.bytes().all(|b| b == b'0') => 1000,
        "0" => fraction.bytes().chain(std::iter::repeat(b'0')).take(3).fold(0, |sum, b| sum * 10 + u16::from(b - b'0')),
        _ => 0,
    }
}

/// The response, encoded if the route, the client and the response allow it.
#[must_use]
pub fn encode(
    compress: &Compress,
    request_headers: &HeaderMap,
    method: &Method,
    mut response: Response<Body>,
) -> Response<Body> {
    if !compressible(compress, &response) {
        return response;
    }
    // The plain variant, too, is one of several.
    add_vary(response.headers_mut());
    let bodiless = *method == Method::HEAD || response.body().is_end_stream();
    let Some(coding) = negotiate(compress, request_headers).filter(|_| !bodiless) else { return response };
    let streamed = is(response.headers(), "text/event-stream");
    let (mut parts, body) = response.into_parts();
    let headers = &mut parts.headers;
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    for name in
        [CONTENT_LENGTH, ACCEPT_RANGES, HeaderName::from_static("content-digest"), HeaderName::from_static("digest")]
    {
        headers.remove(name);
    }
    weaken(headers);
    Response::from_parts(parts, Body::boxed(Encoded::new(coding, body, streamed)))
}

fn compressible(compress: &Compress, response: &Response<Body>) -> bool {
    let headers = response.headers();
    let status = response.status();
    let no_body = status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if no_body
        || status == StatusCode::PARTIAL_CONTENT
        || [CONTENT_ENCODING, CONTENT_RANGE].iter().any(|name| headers.contains_key(name))
        || no_transform(headers)
        || !listed(&compress.types, headers)
    {
        return false;
    }
    let said = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    said.or_else(|| response.body().size_hint().exact()).is_none_or(|length| length >= compress.min_size)
}

fn no_transform(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|d| d.trim().eq_ignore_ascii_case("no-transform"))
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim())
}

fn is(headers: &HeaderMap, media: &str) -> bool {
    media_type(headers).is_some_and(|t| t.eq_ignore_ascii_case(media))
}

fn listed(types: &[String], headers: &HeaderMap) -> bool {
    let Some(media) = media_type(headers) else { return false };
    let begins = |prefix: &str| media.get(..prefix.len()).is_some_and(|m| m.eq_ignore_ascii_case(prefix));
    // gRPC compresses message by message; around them, a coding would break it.
    if begins("application/grpc") {
        return false;
    }
    types.iter().any(|listed| match listed.strip_suffix('*') {
        Some(prefix) => begins(prefix),
        None => media.eq_ignore_ascii_case(listed),
    })
}

/// Adds Accept-Encoding to Vary, unless it is there.
pub(crate) fn add_vary(headers: &mut HeaderMap) {
    let values = headers.get_all(VARY).iter().filter_map(|v| v.to_str().ok());
    let there = values
        .flat_map(|v| v.split(','))
        .any(|n| matches!(n.trim(), "*") || n.trim().eq_ignore_ascii_case("accept-encoding"));
    if !there {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// The bytes are others than those the strong tag stands for (RFC 9110 §8.8.1).
fn weaken(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(ETAG).filter(|t| !t.as_bytes().starts_with(b"W/")) else { return };
    if let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        headers.insert(ETAG, weak);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(text: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(text));
        headers
    }

    #[test]
    fn the_highest_weight_wins_then_the_routes_order() {
        let compress = Compress::default();
        for (text, coding) in [
            ("gzip, br, zstd", Some(Coding::Zstd)),
            ("gzip;q=1.0, br;q=0.9", Some(Coding::Gzip)),
            ("gzip;q=0.5, br;q=0.8, zstd;q=0.1", Some(Coding::Brotli)),
            ("GZIP", Some(Coding::Gzip)),
            ("x-gzip", Some(Coding::Gzip)),
            ("*", Some(Coding::Zstd)),
            ("*, zstd;q=0", Some(Coding::Brotli)),
            ("*;q=0", None),
            ("gzip;q=0", None),
            ("gzip;q=2", None),
            ("gzip ; q = 0.3", Some(Coding::Gzip)),
            ("identity", None),
            ("identity;q=1, gzip;q=0.5", None),
            ("identity;q=0.5, gzip;q=0.5", Some(Coding::Gzip)),
            ("deflate", None),
            ("", None),
        ] {
            assert_eq!(negotiate(&compress, &accept(text)), coding, "{text}");
        }
        assert_eq!(negotiate(&compress, &HeaderMap::new()), None);
    }
}
