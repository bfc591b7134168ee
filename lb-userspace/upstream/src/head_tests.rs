//! Heads by example.

use http::{Request, Response};

use super::*;

fn verdict(
    status: u16,
    version: Version,
    fields: &[(&'static str, &'static str)],
    wanted: Option<&'static str>,
) -> Verdict {
    let mut head = Response::new(()).into_parts().0;
    head.status = StatusCode::from_u16(status).expect("a status");
    head.version = version;
    fields.iter().for_each(|(n, v)| {
        head.headers.append(HeaderName::from_static(n), HeaderValue::from_static(v));
    });
    let wanted = wanted.map(HeaderValue::from_static);
    let verdict = check(&mut head, version == Version::HTTP_2, wanted.as_ref());
    if verdict == Verdict::Last && status != 101 {
        assert!(!head.headers.contains_key(CONTENT_LENGTH));
    }
    verdict
}

#[test]
fn framing_is_believed_only_where_it_is_clear() {
    let h1 = |fields: &[(&'static str, &'static str)]| verdict(200, Version::HTTP_11, fields, None);
    let bad = |v: Verdict| matches!(v, Verdict::Bad(_));
    assert_eq!(h1(&[("content-length", "5")]), Verdict::Fine);
    assert_eq!(h1(&[("content-length", "5"), ("content-length", "5")]), Verdict::Fine);
    assert_eq!(h1(&[("content-length", "5, 5")]), Verdict::Fine);
    assert_eq!(h1(&[("transfer-encoding", "Chunked")]), Verdict::Fine);
    assert_eq!(h1(&[("transfer-encoding", "chunked"), ("content-length", "5")]), Verdict::Last);
    for fields in [
        &[("content-length", "5"), ("content-length", "6")][..],
        &[("content-length", "5, 6")],
        &[("content-length", "+5")],
        &[("content-length", "")],
        &[("transfer-encoding", "chunked, chunked")],
        &[("transfer-encoding", "gzip, chunked")],
        &[("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")],
        &[("transfer-encoding", "identity")],
        &[("transfer-encoding", "xchunked")],
    ] {
        assert!(bad(h1(fields)), "{fields:?}");
    }
    assert!(bad(verdict(200, Version::HTTP_10, &[("transfer-encoding", "chunked")], None)));
    assert!(bad(verdict(200, Version::HTTP_2, &[("transfer-encoding", "chunked")], None)));
}

#[test]
fn protocols_are_switched_only_as_asked() {
    let to = [("upgrade", "websocket")];
    assert_eq!(verdict(101, Version::HTTP_11, &to, Some("websocket")), Verdict::Last);
    assert_eq!(verdict(101, Version::HTTP_11, &to, Some("foo, WebSocket")), Verdict::Last);
    for (fields, wanted) in [(&to[..], None), (&to[..], Some("h2c")), (&[][..], Some("websocket"))] {
        assert!(matches!(verdict(101, Version::HTTP_11, fields, wanted), Verdict::Bad(_)));
    }
}

#[test]
fn requests_take_the_form_of_the_protocol() {
    let request = || {
        Request::builder()
            .uri("/a?b=c")
            .header("host", "a.test:8080")
            .header("te", "trailers")
            .body(())
            .expect("a request")
    };
    let mut head = request().into_parts().0;
    for_h1(&mut head, true);
    assert_eq!((head.uri.to_string().as_str(), head.version), ("/a?b=c", Version::HTTP_11));
    let mut head = request().into_parts().0;
    head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    for_h2(&mut head, true).expect("a head");
    assert_eq!(head.uri, "https://a.test:8080/a?b=c");
    assert_eq!(head.headers.keys().collect::<Vec<_>>(), ["te"]);
    let mut head = Request::post("/").body(()).expect("a request").into_parts().0;
    for_h1(&mut head, true);
    assert_eq!(head.headers[CONTENT_LENGTH], "0");
}
