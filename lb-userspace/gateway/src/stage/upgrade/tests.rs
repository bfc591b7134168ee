//! Which upgrades pass, in which form, and which 101 is believed.

use super::*;
use http::Request;

const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");

fn parts(fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::get("/chat");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

fn handshake(more: &[(&'static str, &'static str)]) -> Parts {
    let mut fields = vec![("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
    fields.extend_from_slice(more);
    parts(&fields)
}

fn allowed(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn over_http_2(protocol: &'static str) -> Parts {
    let mut parts = parts(&[("sec-websocket-version", "13"), ("origin", "https://a.test")]);
    parts.method = Method::CONNECT;
    parts.version = Version::HTTP_2;
    parts.extensions.insert(Protocol::from_static(protocol));
    parts
}

#[test]
fn a_websocket_is_asked_for() {
    let asked = asked(&mut handshake(&[KEY]), &allowed(&["websocket"])).expect("fine").expect("an upgrade");
    assert_eq!((asked.protocol.as_bytes(), asked.websocket, asked.extended), (&b"websocket"[..], true, false));
}

#[test]
fn nothing_that_is_not_named_passes() {
    let refused = asked(&mut handshake(&[KEY]), &[]).expect_err("forbidden");
    assert_eq!(refused.refusal, Refusal::UpgradeRefused);
    for offered in ["h2c", "TLS/1.0", "h2c, foo"] {
        let mut parts = parts(&[("connection", "upgrade"), ("upgrade", offered)]);
        assert!(asked(&mut parts, &allowed(&["websocket"])).expect("fine").is_none(), "{offered}");
    }
    // h2c beside a WebSocket is not passed on: only what was chosen is.
    let mut both = parts(&[("connection", "upgrade"), ("upgrade", "h2c, websocket"), KEY]);
    let asked = asked(&mut both, &allowed(&["websocket"])).expect("fine").expect("an upgrade");
    assert_eq!(asked.protocol, "websocket");
}

#[test]
fn another_protocol_that_is_named() {
    let mut plain = parts(&[("connection", "upgrade"), ("upgrade", "Foo")]);
    let asked_for = asked(&mut plain, &allowed(&["foo"])).expect("fine").expect("an upgrade");
    assert!(asked_for.protocol == "foo" && !asked_for.websocket);
    let mut with_body = parts(&[("connection", "upgrade"), ("upgrade", "foo"), ("content-length", "5")]);
    assert!(asked(&mut with_body, &allowed(&["foo"])).expect("fine").is_none());
}

#[test]
fn what_is_no_upgrade() {
    let all = allowed(&["websocket"]);
    let mut old = handshake(&[KEY]);
    old.version = Version::HTTP_10;
    for mut parts in [old, parts(&[("upgrade", "websocket"), KEY]), parts(&[("connection", "upgrade")])] {
        assert!(asked(&mut parts, &all).expect("fine").is_none());
    }
}

#[test]
fn handshakes_that_are_none() {
    let mut post = handshake(&[KEY]);
    post.method = Method::POST;
    for mut parts in [
        post,
        handshake(&[]),
        handshake(&[KEY, KEY]),
        handshake(&[("sec-websocket-key", "short")]),
        handshake(&[KEY, ("content-length", "5")]),
        handshake(&[KEY, ("transfer-encoding", "chunked")]),
    ] {
        let fault = asked(&mut parts, &allowed(&["websocket"])).expect_err("no handshake");
        assert_eq!(fault.refusal, Refusal::BadRequest, "{parts:?}");
    }
}

fn answer(fields: &[(&str, &str)]) -> HeaderMap {
    fields.iter().map(|(n, v)| (n.parse().expect("a name"), v.parse().expect("a value"))).collect()
}

#[test]
fn the_backends_101_becomes_the_clients() {
    let asked = asked(&mut handshake(&[KEY]), &allowed(&["websocket"])).expect("fine").expect("an upgrade");
    let headers = answer(&[
        ("upgrade", "WebSocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("sec-websocket-protocol", "chat"),
        ("server", "x"),
    ]);
    let response = accepted(Some(&asked), &headers).expect("accepted");
    assert_eq!(response.status(), 101);
    let want = answer(&[
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("sec-websocket-protocol", "chat"),
    ]);
    assert_eq!(*response.headers(), want);
}

#[test]
fn a_101_to_something_else() {
    let asked = asked(&mut handshake(&[KEY]), &allowed(&["websocket"])).expect("fine").expect("an upgrade");
    let refused = |asked, fields| accepted(asked, &answer(fields)).expect_err("refused").refusal;
    assert_eq!(refused(None, &[("upgrade", "websocket")]), Refusal::BadResponse);
    for fields in [&[][..], &[("upgrade", "h2c")], &[("upgrade", "websocket, h2c")]] {
        assert_eq!(refused(Some(&asked), fields), Refusal::BadResponse, "{fields:?}");
    }
}

#[test]
fn over_http_2_the_handshake_is_ours() {
    // RFC 6455 §1.3's own example.
    assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let mut parts = over_http_2("websocket");
    let asked = asked(&mut parts, &allowed(&["websocket"])).expect("fine").expect("an upgrade");
    assert_eq!((&parts.method, parts.version, asked.extended), (&Method::GET, Version::HTTP_11, true));
    let key = parts.headers[SEC_WEBSOCKET_KEY].as_bytes();
    assert_eq!(BASE64_STANDARD.decode(key).expect("base64").len(), 16);
    let right = accept(key);
    let response = accepted(Some(&asked), &answer(&[("upgrade", "websocket"), ("sec-websocket-accept", &right)]));
    let response = response.expect("accepted");
    assert_eq!((response.status().as_u16(), response.headers().len()), (200, 0));
    let wrong = answer(&[("upgrade", "websocket"), ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")]);
    assert_eq!(accepted(Some(&asked), &wrong).expect_err("refused").refusal, Refusal::BadResponse);
}

#[test]
fn over_http_2_only_what_is_named() {
    let refused =
        |protocol, names: &[&str]| asked(&mut over_http_2(protocol), &allowed(names)).expect_err("refused").refusal;
    assert_eq!(refused("websocket", &[]), Refusal::UpgradeRefused);
    assert_eq!(refused("connect-udp", &["websocket", "connect-udp"]), Refusal::UpgradeRefused);
}
