//! Compression from outside: what a client gets, decoded by another decoder than our encoder.

use std::pin::Pin;
use std::task::{Context, Poll};

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt as _;
use lb_content::encode;
use lb_message::Body;
use lb_model::http::Compress;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
}

fn response(fields: &[(&'static str, &'static str)], body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.headers_mut() = map(fields);
    response
}

fn text() -> Vec<u8> {
    b"the same words again and again, ".repeat(4000)
}

/// A body whose frames come from a channel.
struct Channel(mpsc::UnboundedReceiver<Frame<Bytes>>);

impl HttpBody for Channel {
    type Data = Bytes;
    type Error = std::convert::Infallible;
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

async fn decode(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "gzip" => GzipDecoder::new(bytes).read_to_end(&mut out).await,
        "br" => BrotliDecoder::new(bytes).read_to_end(&mut out).await,
        "zstd" => ZstdDecoder::new(bytes).read_to_end(&mut out).await,
        other => panic!("{other} is no coding"),
    }
    .expect("decodes");
    out
}

#[tokio::test]
async fn each_coding_round_trips_and_changes_the_head() {
    for coding in ["gzip", "br", "zstd"] {
        let fields = &[
            ("content-type", "Text/HTML; charset=utf-8"),
            ("content-length", "128000"),
            ("accept-ranges", "bytes"),
            ("etag", "\"a\""),
            ("content-digest", "sha-256=:x:"),
            ("vary", "Origin"),
        ];
        let request = map(&[("accept-encoding", coding)]);
        let encoded = encode(&Compress::default(), &request, &Method::GET, response(fields, Body::full(text())));
        let headers = encoded.headers().clone();
        assert_eq!(headers["content-encoding"], coding);
        assert_eq!(headers["etag"], "W/\"a\"");
        for gone in ["content-length", "accept-ranges", "content-digest"] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
        let vary: Vec<_> = headers.get_all("vary").iter().collect();
        assert_eq!(vary, ["Origin", "Accept-Encoding"]);
        let bytes = encoded.into_body().collect().await.expect("a body").to_bytes();
        assert!(bytes.len() < 20_000, "{} bytes", bytes.len());
        assert_eq!(decode(coding, &bytes).await, text());
    }
}

#[tokio::test]
async fn what_is_left_alone() {
    let html = ("content-type", "text/html");
    let gzip = map(&[("accept-encoding", "gzip")]);
    let plain = |fields: &[(&'static str, &'static str)], method: &Method, status: u16, size: usize| {
        let mut r = response(fields, Body::full(vec![b'a'; size]));
        *r.status_mut() = http::StatusCode::from_u16(status).expect("a status");
        let r = encode(&Compress::default(), &gzip, method, r);
        let coded = r.headers().get("content-encoding").is_some_and(|c| c == "gzip");
        (!coded, r.headers().contains_key("vary"))
    };
    assert_eq!(plain(&[html], &Method::GET, 200, 5000), (false, true), "the case that is not left alone");
    assert_eq!(plain(&[html], &Method::GET, 200, 1024), (false, true));
    assert_eq!(plain(&[html], &Method::GET, 404, 5000), (false, true));
    assert_eq!(plain(&[html], &Method::GET, 200, 1023), (true, false), "small");
    assert_eq!(plain(&[html], &Method::GET, 206, 5000), (true, false));
    assert_eq!(plain(&[html, ("content-encoding", "br")], &Method::GET, 200, 5000), (true, false));
    assert_eq!(plain(&[html, ("cache-control", "public, No-Transform")], &Method::GET, 200, 5000), (true, false));
    assert_eq!(plain(&[("content-type", "image/png")], &Method::GET, 200, 5000), (true, false));
    assert_eq!(plain(&[("content-type", "application/grpc+proto")], &Method::GET, 200, 5000), (true, false));
    assert_eq!(plain(&[], &Method::GET, 200, 5000), (true, false));
    assert_eq!(plain(&[html, ("content-length", "5000")], &Method::HEAD, 200, 0), (true, true), "HEAD");
    let r = encode(&Compress::default(), &map(&[]), &Method::GET, response(&[html], Body::full(text())));
    assert!(!r.headers().contains_key("content-encoding"), "the client did not ask");
    assert_eq!(r.headers()["vary"], "Accept-Encoding", "but others will");
}

#[tokio::test]
async fn events_are_not_held_back_and_trailers_pass() {
    for (coding, media) in [("gzip", "text/event-stream"), ("br", "text/plain"), ("zstd", "text/event-stream")] {
        let (send, receive) = mpsc::unbounded_channel();
        let request = map(&[("accept-encoding", coding)]);
        let body = Body::boxed(Channel(receive));
        let encoded = encode(&Compress::default(), &request, &Method::GET, response(&[("content-type", media)], body));
        let mut body = encoded.into_body();
        let mut all = Vec::new();
        for n in 0..3 {
            send.send(Frame::data(format!("data: {n}\n\n").into())).expect("open");
            // Without a flush this would wait for ever.
            let frame = tokio::time::timeout(std::time::Duration::from_secs(5), body.frame()).await.expect("at once");
            let data = frame.expect("a frame").expect("no error").into_data().expect("data");
            assert!(!data.is_empty());
            all.extend_from_slice(&data);
        }
        send.send(Frame::trailers(map(&[("x-sum", "1")]))).expect("open");
        drop(send);
        let rest = body.collect().await.expect("the rest");
        assert_eq!(rest.trailers().expect("trailers")["x-sum"], "1");
        all.extend_from_slice(&rest.to_bytes());
        assert_eq!(decode(coding, &all).await, b"data: 0\n\ndata: 1\n\ndata: 2\n\n");
    }
}
