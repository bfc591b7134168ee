//! Stages of a request seen from both ends: fields, upgrades, mirrors, shares, pages, locations, explanations.

mod stand;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use lb_gateway::ExplainRequest;
use lb_model::http::{Mirror, PathPattern, PathRewrite, Protocols, Route, Target};

use stand::{Backend, Client, Stand, eventually, listener, name, pool, response, route};

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// One connection of a backend: what `serve` makes of it once a head came.
fn backend<T: Send + 'static>(
    serve: impl FnOnce(String, TcpStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    let thread = std::thread::spawn(move || {
        let mut stream = socket.accept().expect("a connection").0;
        stream.set_read_timeout(Some(stand::PATIENCE)).expect("an option");
        let head = head(&mut stream);
        serve(head, stream)
    });
    (address, thread)
}

fn head(stream: &mut TcpStream) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a head");
        text.push(byte[0]);
    }
    String::from_utf8(text).expect("text")
}

fn some(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).expect("bytes");
    bytes
}

fn all(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _reset = stream.read_to_end(&mut bytes);
    bytes
}

#[test]
fn a_websocket_is_carried() {
    let (address, thread) = backend(|head, mut stream| {
        // The first frame comes together with the answer.
        stream.write_all(format!("{SWITCHING}\u{1}\u{2}hi").as_bytes()).expect("sent");
        let heard = some(&mut stream, 4);
        stream.write_all(b"bye").expect("sent");
        drop(stream);
        (head, heard)
    });
    let stand = Stand::new(address);
    let mut client = stand.client();
    client.send(HANDSHAKE);
    let answer = head(&mut client.stream).to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101 ") && answer.contains("\r\nupgrade: websocket\r\n"), "{answer}");
    assert!(answer.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{answer}");
    assert!(answer.contains("\r\nconnection: upgrade\r\n") && answer.contains("\r\nx-request-id: "), "{answer}");
    assert_eq!(some(&mut client.stream, 4), b"\x01\x02hi");
    client.send("ping");
    assert_eq!(some(&mut client.stream, 3), b"bye");
    let (head, heard) = thread.join().expect("the backend");
    let head = head.to_ascii_lowercase();
    assert_eq!(heard, b"ping");
    assert!(head.contains("\r\nconnection: upgrade\r\n") && head.contains("\r\nupgrade: websocket\r\n"), "{head}");
    drop(client);
    eventually("the tunnel is over", || stand.gateway.in_flight() == 0);
    stand.gateway.reopen_log();
    eventually("the log tells of it", || {
        let log = std::fs::read_to_string(&stand.log).unwrap_or_default();
        log.contains("\"status\":101") && log.contains("\"bytes_in\":4") && log.contains("\"bytes_out\":7")
    });
}

/// RFC 6455 §4.2.2, of the key in a head.
fn accept(head: &str) -> String {
    use base64::Engine as _;
    let key = head.split("sec-websocket-key: ").nth(1).and_then(|t| t.split("\r\n").next()).expect("a key");
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    base64::prelude::BASE64_STANDARD.encode(hash)
}

#[test]
fn a_websocket_over_http_2_is_one_over_http_1_to_the_backend() {
    let (address, thread) = backend(|head, mut stream| {
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\nhi",
            accept(&head)
        );
        stream.write_all(answer.as_bytes()).expect("sent");
        let heard = some(&mut stream, 4);
        (head, heard)
    });
    let stand = Stand::with(address, |plan| {
        listener(plan).protocols = Protocols { h2c: true, ..Protocols::default() };
        route(plan).matching.methods = vec![http::Method::GET];
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(stand.address).await.expect("a connection");
        let (send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        let driver = tokio::spawn(connection);
        let mut send = send.ready().await.expect("ready");
        // The server's settings allow it; they come first.
        while !send.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let mut request = http::Request::connect("http://a.test/chat").body(()).expect("a request");
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        request.headers_mut().insert("sec-websocket-version", http::HeaderValue::from_static("13"));
        let (answer, mut up) = send.send_request(request, false).expect("sent");
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert!(!answer.headers().contains_key("sec-websocket-accept"), "{answer:?}");
        let mut down = answer.into_body();
        assert_eq!(down.data().await.expect("data").expect("data"), "hi");
        up.send_data("ping".into(), true).expect("sent");
        while let Some(more) = down.data().await {
            assert!(more.expect("data").is_empty());
        }
        driver.abort();
    });
    let (head, heard) = thread.join().expect("the backend");
    assert_eq!(heard, b"ping");
    assert!(head.starts_with("GET /chat HTTP/1.1\r\n") && head.contains("upgrade: websocket\r\n"), "{head}");
}

#[test]
fn a_websocket_is_told_when_the_gateway_goes() {
    let (address, thread) = backend(|_, mut stream| {
        stream.write_all(SWITCHING.as_bytes()).expect("sent");
        all(stream)
    });
    let stand = Stand::new(address);
    let mut client = stand.client();
    client.send(HANDSHAKE);
    head(&mut client.stream);
    let rest = std::thread::spawn(move || all(client.stream));
    stand.gateway.stop(Duration::from_millis(300));
    assert_eq!(rest.join().expect("the client"), [0x88, 2, 0x03, 0xe9]);
    let heard = thread.join().expect("the backend");
    assert_eq!((heard.len(), &heard[..2]), (8, &[0x88, 0x82][..]));
    assert_eq!([heard[6] ^ heard[2], heard[7] ^ heard[3]], [0x03, 0xe9]);
}

#[test]
fn upgrades_that_do_not_pass() {
    let backend = Backend::echo();
    let mut stand = Stand::new(backend.address);
    // h2c is not passed on; the request is.
    let mut client = stand.client();
    let seen = client.ask(
        "GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
    );
    assert!(seen.starts_with("HTTP/1.1 200 "), "{seen}");
    let told = backend.last().to_ascii_lowercase();
    assert!(!told.contains("upgrade") && !told.contains("http2-settings"), "{told}");
    stand.change(|plan| route(plan).upgrade = Vec::new());
    let refused = stand.client().ask(HANDSHAKE);
    assert!(refused.starts_with("HTTP/1.1 403 ") && refused.contains("urn:lb:upgrade_refused"), "{refused}");
    assert_eq!(backend.count(), 1);
}

#[test]
fn a_101_that_nobody_asked_for() {
    let backend = Backend::start(|_| SWITCHING.as_bytes().to_vec());
    let stand = Stand::new(backend.address);
    let answer = stand.client().ask("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("urn:lb:bad_response"), "{answer}");
}

#[test]
fn what_the_backend_is_told_of_a_stranger() {
    let backend = Backend::echo();
    let stand = Stand::new(backend.address);
    stand.client().ask(
        "GET / HTTP/1.1\r\nHost: a.test:81\r\nConnection: close, X-Own, Authorization, X-Forwarded-For\r\nX-Own: 1\r\nAuthorization: b\r\n\
         X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nVia: 1.1 evil\r\n\
         TE: gzip\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\n\r\n",
    );
    let told = backend.last().to_ascii_lowercase();
    for line in [
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: a.test:81",
        "forwarded: for=127.0.0.1;host=\"a.test:81\";proto=http",
        "via: 1.1 lb",
        "host: a.test:81",
        "authorization: b",
    ] {
        assert!(told.contains(&format!("\r\n{line}\r\n")), "{line} in {told}");
    }
    assert!(told.contains("\r\nx-request-id: "), "{told}");
    for gone in ["6.6.6.6", "evil", "x-own", "keep-alive", "proxy-connection", "\r\nte:", "x_forwarded"] {
        assert!(!told.contains(gone), "{gone} in {told}");
    }
}

#[test]
fn a_trusted_peer_is_believed() {
    let backend = Backend::echo();
    let stand = Stand::with(backend.address, |plan| {
        listener(plan).trusted_proxies = vec!["127.0.0.0/8".parse().expect("a prefix")];
    });
    let answer = stand.client().ask(
        "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 6.6.6.6, 1.1.1.1, 127.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Request-Id: given-1\r\n\r\n",
    );
    let told = backend.last().to_ascii_lowercase();
    assert!(told.contains("\r\nx-forwarded-for: 6.6.6.6, 1.1.1.1, 127.9.9.9, 127.0.0.1\r\n"), "{told}");
    assert!(
        told.contains("\r\nx-forwarded-proto: https\r\n") && told.contains("\r\nx-request-id: given-1\r\n"),
        "{told}"
    );
    assert!(answer.to_ascii_lowercase().contains("\r\nx-request-id: given-1\r\n"), "{answer}");
    stand.gateway.reopen_log();
    eventually("the log names the client", || {
        std::fs::read_to_string(&stand.log).unwrap_or_default().contains("\"client\":\"1.1.1.1\"")
    });
}

#[test]
fn a_backends_name_is_not_told() {
    let backend = Backend::start(|request| {
        let text = String::from_utf8_lossy(request);
        let own = text.split("\r\n").find_map(|l| l.strip_prefix("x-tell: ")).unwrap_or_default().to_owned();
        response("302 Found", &format!("location: {own}\r\nserver: Apache\r\nx-powered-by: PHP\r\n"), b"")
    });
    let address = backend.address;
    let stand = Stand::with(address, |plan| {
        let route = route(plan);
        route.matching.path = Some(PathPattern::Prefix("/app".to_owned()));
        route.rewrite.path = Some(PathRewrite::Strip("/app".to_owned()));
    });
    let mut client = stand.client();
    for (tell, want) in [
        (format!("http://{address}/x"), "http://a.test:81/app/x"),
        ("/login".to_owned(), "/app/login"),
        ("https://other.test/x".to_owned(), "https://other.test/x"),
    ] {
        let answer = client.ask(format!("GET /app/y HTTP/1.1\r\nHost: a.test:81\r\nx-tell: {tell}\r\n\r\n"));
        assert!(answer.contains(&format!("\r\nlocation: {want}\r\n")), "{tell}: {answer}");
        assert!(!answer.contains("Apache") && !answer.contains("PHP"), "{answer}");
    }
}

#[test]
fn pages_for_errors() {
    let backend = Backend::start(|_| response("503 Service Unavailable", "content-type: text/plain\r\n", b"theirs"));
    let mut stand = Stand::new(backend.address);
    let page = stand.folder().join("sorry.html");
    std::fs::write(&page, "<p>sorry").expect("a file");
    stand.change(|plan| {
        route(plan).errors.insert(503, page.clone());
        plan.pools.insert(name("none"), Arc::new(pool("none", &[])));
        let mut other = Route::new(name("other"), Target::Pool(name("none")));
        other.matching.path = Some(PathPattern::Prefix("/none".to_owned()));
        other.errors.insert(503, page);
        plan.routes.push(Arc::new(other));
    });
    for path in ["/", "/none"] {
        let answer = stand.client().ask(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\n<p>sorry"), "{path}: {answer}");
        assert!(answer.contains("\r\ncontent-type: text/html; charset=utf-8\r\n"), "{path}: {answer}");
    }
}

#[test]
fn a_mirror_gets_a_copy_and_changes_nothing() {
    let (main, shadow) = (Backend::echo(), Backend::start(|_| response("500 Oops", "", b"shadow")));
    let stand = Stand::with(main.address, |plan| {
        plan.pools.insert(name("shadow"), Arc::new(pool("shadow", &[shadow.address])));
        route(plan).mirror = Some(Mirror { pool: name("shadow"), percent: 50 });
    });
    let mut client = stand.client();
    for i in 0..10 {
        let answer = client.ask(format!("POST /m?{i} HTTP/1.1\r\nHost: a.test\r\ncontent-length: 5\r\n\r\nhello"));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    eventually("half of the copies arrive", || shadow.count() == 5);
    assert_eq!(main.count(), 10);
    let copy = shadow.last();
    assert!(copy.starts_with("POST /m?") && copy.ends_with("\r\n\r\nhello"), "{copy}");
}

#[test]
fn shares_hold_over_all_workers() {
    let (most, few) =
        (Backend::start(|_| response("200 OK", "", b"most")), Backend::start(|_| response("200 OK", "", b"few")));
    let stand = Stand::with(most.address, |plan| {
        plan.pools.insert(name("few"), Arc::new(pool("few", &[few.address])));
        route(plan).target = Target::Split(vec![(name("web"), 90), (name("few"), 10)]);
    });
    let mut clients: Vec<Client> = (0..8).map(|_| stand.client()).collect();
    for i in 0..1_000 {
        let client = &mut clients[i % 8];
        assert!(client.ask("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").starts_with("HTTP/1.1 200 "));
    }
    assert_eq!((most.count(), few.count()), (900, 100));
}

#[test]
fn a_request_is_explained_without_being_sent() {
    let backend = Backend::echo();
    let stand = Stand::new(backend.address);
    let request = ExplainRequest {
        method: http::Method::GET,
        url: "http://a.test/x/../y".to_owned(),
        headers: http::HeaderMap::new(),
        from: None,
        listener: None,
    };
    let before = stand.gateway.counters();
    let told = stand.gateway.explain(&request).expect("told");
    assert_eq!((told.verdict, told.route.as_deref(), told.pool.as_deref()), ("forward", Some("all"), Some("web")));
    assert_eq!(told.backend, Some(backend.address.to_string()));
    assert_eq!(stand.gateway.counters(), before);
    assert_eq!(backend.count(), 0);
}
