//! HTTP/3 through the gateway, by an independent client over quinn and by raw frames.

mod h3_client;
mod stand;

use std::io::Read as _;
use std::net::TcpListener;
use std::time::Duration;

use h3_client::{Answer, H3, pattern, post, stand};
use http::Request;
use stand::{Backend, PATIENCE, eventually, listener, response, route};

#[test]
fn a_request_is_answered_logged_and_offered() {
    let backend = Backend::echo();
    let s = stand(backend.address, |_| {});
    let mut client = H3::to(s.address);
    for n in 0..3 {
        let answer = client.get(&format!("/a/{n}?q=1"));
        assert_eq!(answer.head.status(), 200);
        assert_eq!(answer.head.headers()["x-from"], "backend");
        assert!(answer.head.headers().contains_key("date") && answer.head.headers().contains_key("x-request-id"));
        let offered = answer.head.headers()["alt-svc"].to_str().expect("text");
        assert!(offered.starts_with(&format!("h3=\":{}\"", s.address.port())), "{offered}");
        assert!(answer.text().starts_with(&format!("GET /a/{n}?q=1 HTTP/1.1\r\n")), "{}", answer.text());
    }
    let seen = backend.last().to_ascii_lowercase();
    assert!(seen.contains("\r\nhost: h.test\r\n") && seen.contains("\r\nx-forwarded-proto: https\r\n"), "{seen}");
    assert!(!seen.contains("transfer-encoding") && !seen.contains("content-length"), "no body: {seen}");
    eventually("the log says so", || {
        let log = std::fs::read_to_string(&s.log).unwrap_or_default();
        log.lines().count() == 3 && log.contains("\"HTTP/3\"") && log.contains("\"TLSv1.3\"")
    });
    assert_eq!(s.gateway.counters().listeners[&stand::name("edge")].connections, 1);
}

#[test]
fn trailers_come_back() {
    let backend = Backend::start(|_| {
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: server-timing\r\n\r\n3\r\nabc\r\n0\r\nserver-timing: db\r\nx-other: 1\r\n\r\n"
            .to_vec()
    });
    let s = stand(backend.address, |_| {});
    let answer = H3::to(s.address).get("/");
    assert_eq!(answer.text(), "abc");
    let trailers = answer.trailers.expect("trailers");
    assert_eq!(trailers["server-timing"], "db");
    assert!(!trailers.contains_key("x-other"), "by a list");
}

#[test]
fn sizes_are_limited_in_words() {
    let backend = Backend::echo();
    let s = stand(backend.address, |plan| {
        listener(plan).limits.uri = 1_000;
        route(plan).max_body = Some(10_000);
    });
    let mut client = H3::to(s.address);
    let long = client.get(&format!("/{}", "a".repeat(2_000)));
    assert_eq!((long.head.status().as_u16(), long.text().contains("uri_too_long")), (414, true));
    let request = Request::get("https://h.test/").header("x-long", "a".repeat(40 << 10)).body(()).expect("a request");
    let answer = client.run(async |sender| {
        let mut exchange = sender.send_request(request).await.expect("sent");
        Answer::of(&mut exchange).await
    });
    assert_eq!((answer.head.status().as_u16(), answer.text().contains("headers_too_large")), (431, true));
    let answer = client.run(async |sender| {
        let mut exchange = sender.send_request(post().body(()).expect("a request")).await.expect("sent");
        for _ in 0..4 {
            // The gateway may have had enough already.
            let _stopped = exchange.send_data(pattern(8_000)).await;
        }
        Answer::of(&mut exchange).await
    });
    assert_eq!((answer.head.status().as_u16(), answer.text().contains("body_too_large")), (413, true));
    assert_eq!(client.get("/after").head.status(), 200, "the connection goes on");
    eventually("all are logged", || {
        let log = std::fs::read_to_string(&s.log).unwrap_or_default();
        ["uri_too_long", "headers_too_large", "body_too_large"].iter().all(|r| log.contains(r))
    });
}

/// What a raw stream is answered; `bytes` are the request's.
fn raw(client: &H3, bytes: &[u8], finish: bool) -> Result<String, quinn::ReadToEndError> {
    client.runtime.block_on(async {
        let (mut send, mut receive) = client.quic.open_bi().await.expect("a stream");
        send.write_all(bytes).await.expect("sent");
        if finish {
            send.finish().expect("ended");
        }
        let all = tokio::time::timeout(PATIENCE, receive.read_to_end(1 << 20)).await.expect("in time")?;
        Ok(String::from_utf8_lossy(&all).into_owned())
    })
}

#[test]
fn a_head_that_only_announces_itself_is_not_waited_for() {
    let backend = Backend::echo();
    let s = stand(backend.address, |plan| listener(plan).timeouts.header = Duration::from_millis(300));
    let client = H3::to(s.address);
    let endless = [0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0];
    assert!(raw(&client, &endless, false).expect("answered").contains("headers_too_large"));
    assert!(raw(&client, &[0x01, 0x20, 0x00, 0x00, 0xd1], false).expect("answered").contains("client_timeout"));
    assert!(raw(&client, &[0x01, 0x20, 0x00, 0x00, 0xd1], true).is_err(), "cut off: a reset");
    assert_eq!(H3::to(s.address).get("/").head.status(), 200);
}

#[test]
fn a_request_taken_back_ends_at_the_backend_too() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let s = stand(address, |_| {});
    let mut client = H3::to(s.address);
    let asked = client.run(async |sender| {
        let request = Request::get("https://h.test/slow").body(()).expect("a request");
        let mut exchange = sender.send_request(request).await.expect("sent");
        exchange.finish().await.expect("ended");
        exchange
    });
    let (mut backend, _) = silent.accept().expect("a connection");
    backend.set_read_timeout(Some(PATIENCE)).expect("an option");
    assert!(backend.read(&mut [0; 4096]).expect("the request") > 0);
    let mut asked = asked;
    client.run(async |_| asked.stop_sending(h3::error::Code::H3_REQUEST_CANCELLED));
    assert!(matches!(backend.read(&mut [0; 16]), Ok(0) | Err(_)), "the backend's connection ends");
    eventually("it is logged", || std::fs::read_to_string(&s.log).unwrap_or_default().contains("client_closed"));
}

#[test]
fn a_client_that_moves_keeps_its_connection() {
    let backend = Backend::echo();
    let s = stand(backend.address, |_| {});
    let mut clients: Vec<H3> = (0..6).map(|_| H3::to(s.address)).collect();
    for client in &mut clients {
        for n in 0..3 {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("another port");
            let runtime = client.runtime.handle().clone();
            let _within = runtime.enter();
            client.endpoint.rebind(socket).expect("moved");
            assert_eq!(client.get(&format!("/{n}")).head.status(), 200);
        }
    }
    assert_eq!(s.gateway.counters().listeners[&stand::name("edge")].connections_total, 6);
}

#[test]
fn http3_comes_and_goes_with_a_plan() {
    let backend = Backend::start(|request| {
        if request.starts_with(b"GET /slow") {
            std::thread::park_timeout(Duration::from_millis(800));
        }
        response("200 OK", "", b"done")
    });
    let mut s = stand(backend.address, |_| {});
    let mut client = H3::to(s.address);
    assert_eq!(client.get("/").text(), "done");
    let slow = client.run(async |sender| {
        let request = Request::get("https://h.test/slow").body(()).expect("a request");
        let mut exchange = sender.send_request(request).await.expect("sent");
        exchange.finish().await.expect("ended");
        exchange
    });
    eventually("it is under way", || backend.count() == 1 && s.gateway.in_flight() > 0);
    s.change(|plan| listener(plan).protocols.h3 = false);
    let mut slow = slow;
    let answer = client.run(async |_| Answer::of(&mut slow).await);
    assert_eq!(answer.text(), "done", "what was asked is answered");
    assert!(H3::try_to(s.address).is_none(), "nobody is let in");
    let closed = client.runtime.block_on(async { tokio::time::timeout(PATIENCE, client.quic.closed()).await });
    assert!(closed.is_ok(), "and then it ends");
    s.change(|plan| listener(plan).protocols.h3 = true);
    assert_eq!(H3::to(s.address).get("/").text(), "done");
}
