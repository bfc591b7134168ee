//! What heads are refused, and what is told of those that are not.

use super::*;
use http::Request;

struct Case {
    method: &'static str,
    uri: &'static str,
    version: Version,
    fields: Vec<(&'static str, &'static [u8])>,
    extended: bool,
}

fn h1(fields: &[(&'static str, &'static str)]) -> Case {
    let fields = fields.iter().map(|(n, v)| (*n, v.as_bytes())).collect();
    Case { method: "GET", uri: "/", version: Version::HTTP_11, fields, extended: false }
}

fn h2(uri: &'static str, fields: &[(&'static str, &'static str)]) -> Case {
    Case { uri, version: Version::HTTP_2, ..h1(fields) }
}

fn run(case: &Case) -> Result<Judged, Fault> {
    let mut request =
        Request::builder().method(case.method).uri(case.uri).version(case.version).body(()).expect("a request");
    for (name, value) in &case.fields {
        request.headers_mut().append(*name, HeaderValue::from_bytes(value).expect("a value"));
    }
    judge(request.method(), request.uri(), case.version, request.headers(), 64, case.extended)
}

fn refused(case: &Case) -> Refusal {
    run(case).expect_err("refused").refusal
}

const HOST_A: (&str, &str) = ("host", "A.test:8080");

#[test]
fn a_clean_head_says_its_host() {
    let judged = run(&h1(&[HOST_A])).expect("fine");
    assert_eq!(
        (judged.host(), judged.authority.clone().expect("one")),
        ("a.test", HeaderValue::from_static("A.test:8080"))
    );
    assert_eq!(judged.seen, Seen::default());
    assert_eq!(run(&h1(&[("host", "b.test:1")])).expect("fine").host(), "b.test");
    assert_eq!(run(&h2("https://c.test/x", &[])).expect("fine").host(), "c.test");
    assert_eq!(run(&h2("https://c.test/x", &[("host", "C.test")])).expect("fine").host(), "c.test");
    assert_eq!(run(&h2("/x", &[("host", "d.test")])).expect("fine").host(), "d.test");
    let old = Case { version: Version::HTTP_10, ..h1(&[]) };
    assert_eq!(run(&old).expect("fine").host(), "");
    let absolute = Case { uri: "http://a.TEST:8080/x", ..h1(&[HOST_A]) };
    assert_eq!(run(&absolute).expect("fine").host(), "a.test");
}

#[test]
fn hosts_that_are_refused() {
    let junk: &'static [&'static str] = &["a b", "a/b", "a@b", "a,b", "", "a:x", "a..b", "[::1"];
    for host in junk {
        assert_eq!(refused(&h1(&[("host", host)])), Refusal::BadRequest, "{host}");
    }
    for case in [
        h1(&[]),
        h1(&[HOST_A, HOST_A]),
        Case { uri: "http://b.test/x", ..h1(&[HOST_A]) },
        Case { uri: "http://a.test:8080/x", ..h1(&[]) },
        Case { uri: "ftp://a.test:8080/x", ..h1(&[HOST_A]) },
        h2("/x", &[]),
        h2("https://c.test/x", &[("host", "d.test")]),
        h2("https://u@c.test/x", &[]),
    ] {
        let fault = run(&case).expect_err("refused");
        assert_eq!((fault.refusal, fault.close), (Refusal::BadRequest, true), "{} {:?}", case.uri, case.fields);
    }
}

#[test]
fn framing_that_two_readers_could_read_differently() {
    for fields in [
        &[HOST_A, ("content-length", "5"), ("transfer-encoding", "chunked")][..],
        &[HOST_A, ("content-length", "5"), ("content-length", "5")],
        &[HOST_A, ("content-length", "5, 5")],
        &[HOST_A, ("content-length", "+5")],
        &[HOST_A, ("content-length", "")],
        &[HOST_A, ("content-length", "0x5")],
        &[HOST_A, ("content-length", "99999999999999999999")],
        &[HOST_A, ("transfer-encoding", "chunked, chunked")],
        &[HOST_A, ("transfer-encoding", "gzip, chunked")],
        &[HOST_A, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        &[HOST_A, ("transfer-encoding", "identity")],
        &[HOST_A, ("transfer-encoding", "xchunked")],
    ] {
        assert_eq!(refused(&h1(fields)), Refusal::BadRequest, "{fields:?}");
    }
    let old = Case { version: Version::HTTP_10, ..h1(&[HOST_A, ("transfer-encoding", "chunked")]) };
    assert_eq!(refused(&old), Refusal::BadRequest);
    let judged = run(&h1(&[HOST_A, ("transfer-encoding", "Chunked")])).expect("fine");
    assert!(judged.seen.hop);
    assert_eq!(run(&h1(&[HOST_A, ("content-length", "05")])).expect("fine").seen.content_length, Some(5));
    assert_eq!(refused(&h2("https://c.test/", &[("content-length", "x")])), Refusal::BadRequest);
}

#[test]
fn what_http_2_may_not_carry() {
    for field in [
        ("connection", "close"),
        ("keep-alive", "5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("x", " a"),
        ("x", "a\t"),
    ] {
        assert_eq!(refused(&h2("https://c.test/", &[field])), Refusal::BadRequest, "{field:?}");
    }
    for field in [("te", "trailers"), ("x", "a b"), ("x", "")] {
        assert!(run(&h2("https://c.test/", &[field])).is_ok(), "{field:?}");
    }
}

#[test]
fn methods_and_targets() {
    let with = |method, uri| Case { method, uri, ..h1(&[HOST_A]) };
    assert_eq!(refused(&with("CONNECT", "a.test:8080")), Refusal::MethodNotAllowed);
    assert_eq!(refused(&with("TRACE", "/")), Refusal::MethodNotAllowed);
    assert_eq!(refused(&with("GET", "*")), Refusal::BadRequest);
    assert_eq!(refused(&with("GET", "a.test:8080")), Refusal::BadRequest);
    assert!(run(&with("OPTIONS", "*")).is_ok());
    assert!(run(&with("QUERY", "/?a")).is_ok());
    assert!(run(&Case { method: "CONNECT", extended: true, ..h2("https://c.test/chat", &[]) }).is_ok());
    const LONG: &str = "/2345678901234567890123456789012?2345678901234567890123456789012";
    assert_eq!(LONG.len(), 64);
    assert!(run(&with("GET", LONG)).is_ok());
    assert_eq!(refused(&with("GET", const_str())), Refusal::UriTooLong);
}

const fn const_str() -> &'static str {
    "/2345678901234567890123456789012?23456789012345678901234567890123"
}

#[test]
fn expectations() {
    assert!(run(&h1(&[HOST_A, ("expect", "100-Continue")])).is_ok());
    assert_eq!(refused(&h1(&[HOST_A, ("expect", "200-maybe")])), Refusal::ExpectationFailed);
    assert_eq!(refused(&h1(&[HOST_A, ("expect", "")])), Refusal::ExpectationFailed);
}

#[test]
fn names_with_underscores_go() {
    let case = h1(&[HOST_A, ("x_forwarded_for", "1.1.1.1"), ("a_b", "1"), ("a_b", "2"), ("x-a", "3")]);
    assert!(run(&case).expect("fine").seen.ambiguous);
    let mut headers: HeaderMap = case
        .fields
        .iter()
        .map(|(n, v)| (n.parse().expect("a name"), HeaderValue::from_bytes(v).expect("a value")))
        .collect();
    assert_eq!(drop_ambiguous(&mut headers), 2);
    assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["host", "x-a"]);
}

#[test]
fn what_later_stages_need_not_look_for() {
    let seen = |field| run(&h1(&[HOST_A, field])).expect("fine").seen;
    for field in [("connection", "close"), ("keep-alive", "5"), ("te", "trailers"), ("upgrade", "h2c")] {
        assert!(seen(field).hop, "{field:?}");
    }
    assert!(seen(("upgrade", "websocket")).upgrade);
    for name in ["x-forwarded-for", "x-forwarded-port", "forwarded", "via", "x-real-ip", "x-request-id"] {
        assert!(seen((name, "x")).forwarding, "{name}");
    }
    assert_eq!(seen(("x-other", "x")), Seen::default());
}
