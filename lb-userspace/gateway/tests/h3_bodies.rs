//! Bodies over HTTP/3: whole, both ways, and no more of them in memory than somebody wants.

mod h3_client;
mod stand;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h3_client::{Answer, H3, pattern, post, stand};
use http::{HeaderMap, Request};
use stand::Backend;

#[test]
fn a_mebibyte_goes_up_and_comes_down() {
    let backend = Backend::echo();
    let s = stand(backend.address, |_| {});
    let mut client = H3::to(s.address);
    let body = pattern(1 << 20);
    for length in [Some(body.len()), None] {
        let mut request = post();
        if let Some(length) = length {
            request = request.header("content-length", length);
        }
        let request = request.body(()).expect("a request");
        let answer = client.run(async |sender| {
            let mut exchange = sender.send_request(request).await.expect("sent");
            for piece in body.chunks(60_000) {
                exchange.send_data(Bytes::copy_from_slice(piece)).await.expect("sent");
            }
            exchange.finish().await.expect("ended");
            Answer::of(&mut exchange).await
        });
        assert_eq!(answer.head.status(), 200);
        if length.is_some() {
            assert!(answer.body.ends_with(&body), "{} bytes came back", answer.body.len());
        } else {
            assert_eq!(unchunked(&answer.body), body);
        }
    }
}

/// The body of a raw request in chunks.
fn unchunked(request: &[u8]) -> Vec<u8> {
    let head = request.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    let (mut rest, mut body) = (&request[head..], Vec::new());
    loop {
        let line = rest.windows(2).position(|w| w == b"\r\n").expect("a size");
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).expect("text"), 16).expect("hex");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[line + 2..][..size]);
        rest = &rest[line + 2 + size + 2..];
    }
}

#[test]
fn no_body_is_lost_to_empty_and_tiny_frames() {
    let backend = Backend::echo();
    let s = stand(backend.address, |_| {});
    let mut client = H3::to(s.address);
    let body = pattern(5_000);
    let answer = client.run(async |sender| {
        let mut exchange = sender.send_request(post().body(()).expect("a request")).await.expect("sent");
        for byte in body.chunks(1) {
            exchange.send_data(Bytes::new()).await.expect("sent");
            exchange.send_data(Bytes::copy_from_slice(byte)).await.expect("sent");
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("content-digest", "x".parse().expect("a value"));
        exchange.send_trailers(trailers).await.expect("sent");
        exchange.finish().await.expect("ended");
        Answer::of(&mut exchange).await
    });
    assert_eq!(answer.head.status(), 200);
    assert_eq!(unchunked(&answer.body), body);
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_is_refused() {
    let backend = Backend::echo();
    let s = stand(backend.address, |_| {});
    let mut client = H3::to(s.address);
    for (said, sent) in [(10, 5), (5, 10)] {
        let request = post().header("content-length", said).body(()).expect("a request");
        let status = client.run(async |sender| {
            let mut exchange = sender.send_request(request).await.expect("sent");
            exchange.send_data(pattern(sent)).await.expect("sent");
            exchange.finish().await.expect("ended");
            exchange.recv_response().await.map(|r| r.status().as_u16())
        });
        assert_eq!(status.expect("answered"), 400, "{said} said, {sent} sent");
    }
    assert_eq!(backend.count(), 0, "no backend saw a whole one");
}

#[test]
fn a_client_that_asks_before_it_sends_is_told_to() {
    let backend = Backend::echo();
    let s = stand(backend.address, |_| {});
    let mut client = H3::to(s.address);
    let request = post().header("expect", "100-continue").header("content-length", 5).body(()).expect("a request");
    let answer = client.run(async |sender| {
        let mut exchange = sender.send_request(request).await.expect("sent");
        assert_eq!(exchange.recv_response().await.expect("an interim response").status(), 100);
        exchange.send_data(Bytes::from_static(b"hello")).await.expect("sent");
        exchange.finish().await.expect("ended");
        Answer::of(&mut exchange).await
    });
    assert_eq!(answer.head.status(), 200);
    assert!(answer.text().ends_with("hello"), "{}", answer.text());
}

#[test]
fn who_does_not_read_is_not_read_for() {
    const ALL: u64 = 96 << 20;
    const MOST: u64 = 32 << 20;
    // A backend that reads nothing: the client cannot get rid of much.
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a port");
    let s = stand(deaf.local_addr().expect("an address"), |_| {});
    let mut client = H3::to(s.address);
    let sent = AtomicU64::new(0);
    client.run(async |sender| {
        let mut exchange = sender.send_request(post().body(()).expect("a request")).await.expect("sent");
        let pushing = async {
            while sent.load(Ordering::Relaxed) < ALL {
                exchange.send_data(pattern(1 << 16)).await.expect("sent");
                sent.fetch_add(1 << 16, Ordering::Relaxed);
            }
        };
        let _stalled = tokio::time::timeout(Duration::from_secs(3), pushing).await;
    });
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent < MOST, "{sent} bytes went up");

    // A client that reads nothing: the backend cannot.
    let loud = TcpListener::bind("127.0.0.1:0").expect("a port");
    let s = stand(loud.local_addr().expect("an address"), |_| {});
    let written = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&written);
    std::thread::spawn(move || {
        let (mut stream, _) = loud.accept().expect("a connection");
        assert!(stream.read(&mut [0; 4096]).expect("a request") > 0);
        stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {ALL}\r\n\r\n").as_bytes()).expect("sent");
        while stream.write_all(&[7; 1 << 16]).is_ok() {
            count.fetch_add(1 << 16, Ordering::Relaxed);
        }
    });
    let mut client = H3::to(s.address);
    let request = Request::get("https://h.test/").body(()).expect("a request");
    client.run(async |sender| {
        let mut exchange = sender.send_request(request).await.expect("sent");
        exchange.finish().await.expect("ended");
        assert_eq!(exchange.recv_response().await.expect("a head").status(), 200);
        tokio::time::sleep(Duration::from_secs(3)).await;
    });
    let written = written.load(Ordering::Relaxed);
    assert!(written > 0 && written < MOST, "{written} bytes came down");
}
