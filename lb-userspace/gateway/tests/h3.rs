//! HTTP/3 through the gateway, by an independent client over quinn and by raw frames.

mod stand;

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, Request, Response};
use lb_model::http::{Certificate, CertificateSource};
use quinn::crypto::rustls::QuicClientConfig;
use stand::{Backend, PATIENCE, Stand, eventually, listener, response, route};

type Sender = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;
type Exchange = h3::client::RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

struct H3 {
    runtime: tokio::runtime::Runtime,
    endpoint: quinn::Endpoint,
    quic: quinn::Connection,
    sender: Sender,
    _driver: tokio::task::JoinHandle<()>,
}

/// A listener with a certificate for `h.test`, and HTTP/3 beside the others.
fn stand(backend: SocketAddr, change: impl FnOnce(&mut lb_gateway::HttpPlan)) -> Stand {
    let folder = tempfile::tempdir().expect("a folder").keep();
    let made = rcgen::generate_simple_self_signed(vec!["h.test".to_owned()]).expect("a certificate");
    let (cert, key) = (folder.join("c.pem"), folder.join("c.key"));
    std::fs::write(&cert, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    Stand::with(backend, |plan| {
        let l = listener(plan);
        l.certificates = vec![Certificate { names: Vec::new(), source: CertificateSource::Files { cert, key } }];
        l.protocols.h2 = true;
        l.protocols.h3 = true;
        change(plan);
    })
}

fn trusting() -> quinn::ClientConfig {
    let tls = lb_model::http::UpstreamTls { ca: None, server_name: None, client: None, verify: false };
    let tls = lb_certs::client::config(&tls, &[b"h3"]).expect("client");
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("TLS 1.3")))
}

impl H3 {
    fn to(address: SocketAddr) -> Self {
        Self::try_to(address).expect("connected")
    }

    fn try_to(address: SocketAddr) -> Option<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (endpoint, quic, sender, driver) = runtime.block_on(async {
            let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().expect("address")).expect("a socket");
            endpoint.set_default_client_config(trusting());
            let connecting = endpoint.connect(address, "h.test").expect("begun");
            let quic = tokio::time::timeout(Duration::from_secs(3), connecting).await.ok()?.ok()?;
            let (mut driver, sender) = h3::client::new(h3_quinn::Connection::new(quic.clone())).await.expect("h3");
            let driver = tokio::spawn(async move {
                let _end = poll_fn(|cx| driver.poll_close(cx)).await;
            });
            Some((endpoint, quic, sender, driver))
        })?;
        Some(Self { runtime, endpoint, quic, sender, _driver: driver })
    }

    fn run<T>(&mut self, work: impl AsyncFnOnce(&mut Sender) -> T) -> T {
        let Self { runtime, sender, .. } = self;
        runtime.block_on(async { tokio::time::timeout(PATIENCE, work(sender)).await.expect("in time") })
    }

    fn get(&mut self, path: &str) -> Answer {
        let request = Request::get(format!("https://h.test{path}")).body(()).expect("a request");
        self.run(async |sender| {
            let mut exchange = sender.send_request(request).await.expect("sent");
            exchange.finish().await.expect("ended");
            Answer::of(&mut exchange).await
        })
    }
}

struct Answer {
    head: Response<()>,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

impl Answer {
    async fn of(exchange: &mut Exchange) -> Self {
        let head = exchange.recv_response().await.expect("a response");
        let mut body = Vec::new();
        while let Some(mut data) = exchange.recv_data().await.expect("a body") {
            while data.has_remaining() {
                body.extend_from_slice(data.chunk());
                data.advance(data.chunk().len());
            }
        }
        let trailers = exchange.recv_trailers().await.expect("an end");
        Self { head, body, trailers }
    }
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn post() -> http::request::Builder {
    Request::post("https://h.test/up")
}

/// Bytes that no shift or loss leaves the same.
fn pattern(length: usize) -> Bytes {
    (0..length).map(|i| (i % 251) as u8 ^ (i >> 11) as u8).collect()
}

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
