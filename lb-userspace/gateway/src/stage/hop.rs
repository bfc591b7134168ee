//! Fields that are for one connection (RFC 9110 §7.6.1) go, both ways; of trailers only those pass that mean nothing to a proxy.

use http::header::{CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Of a request. `upgrade`: what the connection is to become, and only that stays. `te_trailers`: the backend is spoken
/// to in HTTP/2, where `TE: trailers` means something (gRPC demands it); else it goes.
pub fn request(headers: &mut HeaderMap, upgrade: Option<HeaderValue>, te_trailers: bool) {
    let trailers = te_trailers && headers.get_all(TE).iter().any(accepts_trailers);
    strip(headers);
    headers.remove(PROXY_AUTHORIZATION);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    } else {
        headers.remove(TRAILER);
    }
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// Of a response that is no 101.
pub fn response(headers: &mut HeaderMap) {
    strip(headers);
    headers.remove(PROXY_AUTHENTICATE);
}

fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        for name in nominated(headers) {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, HTTP2_SETTINGS, TE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

/// What `Connection` names, without what it may not take away.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for value in headers.get_all(CONNECTION) {
        for token in value.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            let usual = [&b"keep-alive"[..], b"close", b"upgrade", b"te"];
            if usual.iter().any(|u| token.eq_ignore_ascii_case(u)) {
                continue;
            }
            if let Ok(name) = HeaderName::from_bytes(token)
                && !is_end_to_end(&name)
            {
                names.push(name);
            }
        }
    }
    names
}

/// Fields that decide something further on; a client that has them removed on the way changes who it seems to be.
fn is_end_to_end(name: &HeaderName) -> bool {
    let name = name.as_str();
    ["x-forwarded-", "x-consumer-", "x-auth", "x-request-", "x-real-", "sec-", "content-", "access-control-", "if-"]
        .iter()
        .any(|p| name.starts_with(p))
        || matches!(
            name,
            "host"
                | "forwarded"
                | "via"
                | "authorization"
                | "cookie"
                | "set-cookie"
                | "x-api-key"
                | "range"
                | "expect"
                | "max-forwards"
                | "origin"
                | "referer"
                | "user-agent"
                | "date"
                | "vary"
                | "cache-control"
                | "pragma"
                | "age"
                | "expires"
                | "etag"
                | "last-modified"
                | "location"
                | "www-authenticate"
                | "strict-transport-security"
                | "early-data"
                | "traceparent"
                | "tracestate"
        )
}

fn accepts_trailers(value: &HeaderValue) -> bool {
    value.as_bytes().split(|&b| b == b',').any(|t| t.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// May this field stand in trailers: RFC 9110 §6.5.1 leaves out what frames, routes, authenticates, or tells how to treat
/// the content. An allow-list: fields of these names or beginnings, nothing else.
fn may_trail(name: &str) -> bool {
    matches!(
        name,
        "grpc-status"
            | "grpc-message"
            | "grpc-status-details-bin"
            | "server-timing"
            | "etag"
            | "digest"
            | "content-digest"
            | "repr-digest"
            | "content-md5"
            | "x-checksum"
            | "signature"
            | "signature-input"
    )
}

/// Takes out of trailers what may not stand there. `grpc`: the exchange is gRPC's, whose own metadata are trailers with
/// names of the application's choosing.
pub fn keep_trailers(trailers: &mut HeaderMap, grpc: bool) {
    let gone: Vec<HeaderName> =
        trailers.keys().filter(|n| !(may_trail(n.as_str()) || (grpc && is_metadata(n)))).cloned().collect();
    for name in gone {
        trailers.remove(name);
    }
}

/// gRPC's trailing metadata: any name that is nobody else's (gRPC over HTTP/2, "Custom-Metadata").
fn is_metadata(name: &HeaderName) -> bool {
    let text = name.as_str();
    !is_end_to_end(name)
        && !text.contains('_')
        && ![
            CONNECTION,
            TE,
            TRAILER,
            TRANSFER_ENCODING,
            UPGRADE,
            PROXY_AUTHENTICATE,
            PROXY_AUTHORIZATION,
            KEEP_ALIVE,
            PROXY_CONNECTION,
            HTTP2_SETTINGS,
        ]
        .contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().expect("a value"));
        }
        map
    }

    const ALL: [(&str, &str); 10] = [
        ("connection", "keep-alive, X-Own ,Upgrade"),
        ("connection", "x-second"),
        ("x-own", "1"),
        ("x-second", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ("te", "gzip, Trailers"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
    ];

    #[test]
    fn a_connections_fields_go() {
        let mut map = headers(&ALL);
        map.insert("accept", HeaderValue::from_static("*/*"));
        map.insert("proxy-authorization", HeaderValue::from_static("Basic eA=="));
        request(&mut map, None, false);
        assert_eq!(map, headers(&[("accept", "*/*")]));
        let mut map = headers(&ALL);
        map.insert("proxy-authenticate", HeaderValue::from_static("Basic"));
        response(&mut map);
        assert_eq!(map, HeaderMap::new());
    }

    #[test]
    fn what_is_asked_for_stays() {
        let mut map = headers(&ALL);
        request(&mut map, None, true);
        assert_eq!(map, headers(&[("te", "trailers")]));
        let mut map = headers(&ALL);
        request(&mut map, Some(HeaderValue::from_static("websocket")), false);
        assert_eq!(map, headers(&[("connection", "upgrade"), ("upgrade", "websocket")]));
    }

    #[test]
    fn no_security_field_can_be_nominated() {
        let fields = [
            "host",
            "authorization",
            "cookie",
            "content-length",
            "content-type",
            "x-forwarded-for",
            "x-forwarded-port",
            "forwarded",
            "via",
            "x-real-ip",
            "x-request-id",
            "x-consumer-name",
            "sec-websocket-key",
            "origin",
        ];
        let mut map = HeaderMap::new();
        for name in fields {
            map.append(CONNECTION, HeaderValue::from_static(name));
            map.append(name, HeaderValue::from_static("1"));
        }
        request(&mut map, None, false);
        assert_eq!(map.len(), fields.len());
        assert!(fields.iter().all(|name| map.contains_key(*name)));
    }

    #[test]
    fn what_is_no_name_is_no_nomination() {
        let mut map = headers(&[("connection", ", ,a b,\"x\",close,"), ("x", "1")]);
        request(&mut map, None, false);
        assert_eq!(map, headers(&[("x", "1")]));
    }

    #[test]
    fn trailers_pass_by_a_list() {
        let all = [
            ("grpc-status", "0"),
            ("grpc-message", "fine"),
            ("server-timing", "db"),
            ("x-custom", "1"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("host", "a"),
            ("authorization", "b"),
            ("set-cookie", "c"),
            ("x-forwarded-for", "d"),
            ("connection", "e"),
        ];
        let mut map = headers(&all);
        keep_trailers(&mut map, false);
        assert_eq!(map, headers(&all[..3]));
        let mut map = headers(&all);
        keep_trailers(&mut map, true);
        assert_eq!(map, headers(&all[..4]));
    }
}
