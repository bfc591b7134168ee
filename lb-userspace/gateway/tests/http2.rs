//! HTTP/2 in clear text and over TLS, and who may speak what.

mod stand;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Version};
use lb_model::http::{Protocols, TlsVersion};
use stand::{Backend, Client, Stand, listener, response, route};
use tokio::net::TcpStream;

fn block_on<F: Future>(f: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), f).await.expect("in time") })
}

async fn connect(address: std::net::SocketAddr) -> h2::client::SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    send.ready().await.expect("ready")
}

fn request(method: Method, path: &str) -> Request<()> {
    let uri = format!("http://h.test{path}");
    Request::builder().method(method).uri(uri).version(Version::HTTP_2).body(()).expect("a request")
}

async fn text(mut body: h2::RecvStream) -> String {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.expect("data");
        body.flow_control().release_capacity(data.len()).expect("open");
        all.extend_from_slice(&data);
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn both() -> Protocols {
    Protocols { h1: true, h2c: true, ..Protocols::default() }
}

#[test]
fn clear_http2_beside_http1() {
    let backend = Backend::echo();
    let stand = Stand::with(backend.address, |plan| listener(plan).protocols = both());
    assert!(stand.client().ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").starts_with("HTTP/1.1 200 "));
    block_on(async {
        let mut send = connect(stand.address).await;
        let (answer, _) = send.send_request(request(Method::GET, "/two?x=y"), true).expect("sent");
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.headers().contains_key("x-request-id") && answer.headers().contains_key("date"));
        let seen = text(answer.into_body()).await;
        assert!(seen.starts_with("GET /two?x=y HTTP/1.1\r\n"), "{seen}");
        assert!(seen.to_ascii_lowercase().contains("\r\nhost: h.test\r\n"), "{seen}");
        let mut send = send.ready().await.expect("ready");
        let (answer, mut body) = send.send_request(request(Method::POST, "/up"), false).expect("sent");
        body.send_data(Bytes::from_static(b"hello"), false).expect("sent");
        body.send_data(Bytes::from(vec![b'x'; 100_000]), true).expect("sent");
        let seen = text(answer.await.expect("an answer").into_body()).await;
        assert!(seen.contains("hello") && seen.matches('x').count() >= 100_000);
    });
}

#[test]
fn large_answers_pass_under_flow_control() {
    let backend = Backend::start(|_| response("200 OK", "", &vec![b'z'; 3 << 20]));
    let stand = Stand::with(backend.address, |plan| listener(plan).protocols = both());
    block_on(async {
        let mut send = connect(stand.address).await;
        let (answer, _) = send.send_request(request(Method::GET, "/"), true).expect("sent");
        assert_eq!(text(answer.await.expect("an answer").into_body()).await.len(), 3 << 20);
    });
}

#[test]
fn refusals_of_http2() {
    let backend = Backend::echo();
    let stand = Stand::with(backend.address, |plan| {
        listener(plan).protocols = both();
        route(plan).max_body = Some(1000);
    });
    block_on(async {
        let send = connect(stand.address).await;
        let ask = async |request: Request<()>, body: Option<usize>| {
            let mut send = send.clone().ready().await.expect("ready");
            let (answer, mut stream) = send.send_request(request, body.is_none()).expect("sent");
            if let Some(length) = body {
                stream.send_data(Bytes::from(vec![b'a'; length]), true).expect("sent");
            }
            answer.await.expect("an answer")
        };
        let mut large = request(Method::GET, "/");
        large.headers_mut().insert("a", "b".repeat(40_000).parse().expect("a value"));
        assert_eq!(ask(large, None).await.status(), 431);
        let mut many = request(Method::GET, "/");
        for _ in 0..120 {
            many.headers_mut().append("a", "b".parse().expect("a value"));
        }
        assert_eq!(ask(many, None).await.status(), 431);
        assert_eq!(ask(request(Method::GET, &format!("/{}", "a".repeat(9000))), None).await.status(), 414);
        assert_eq!(ask(request(Method::POST, "/"), Some(2000)).await.status(), 413);
        assert_eq!(ask(request(Method::TRACE, "/"), None).await.status(), 405);
        let fine = ask(request(Method::GET, "/"), None).await;
        assert_eq!(fine.status(), 200);
        assert!(!fine.headers().contains_key("connection"));
    });
}

#[test]
fn streams_taken_back_again_and_again_end_the_connection() {
    let backend = Backend::start(|_| {
        std::thread::park_timeout(Duration::from_secs(5));
        response("200 OK", "", b"")
    });
    let stand = Stand::with(backend.address, |plan| listener(plan).protocols = both());
    block_on(async {
        let mut send = connect(stand.address).await;
        for n in 0..2_000 {
            let Ok(ready) = send.ready().await else { return };
            send = ready;
            let Ok((answer, mut body)) = send.send_request(request(Method::GET, "/"), false) else { return };
            tokio::task::yield_now().await;
            if n % 10 == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            body.send_reset(h2::Reason::CANCEL);
            drop(answer);
        }
        panic!("the connection goes on after 2,000 streams taken back");
    });
}

struct Material {
    _folder: tempfile::TempDir,
    cert: std::path::PathBuf,
    key: std::path::PathBuf,
    roots: rustls::RootCertStore,
}

fn material() -> Material {
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(vec!["h.test".to_owned()]).expect("a certificate");
    let (cert, key) = (folder.path().join("c.pem"), folder.path().join("c.key"));
    std::fs::write(&cert, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    Material { _folder: folder, cert, key, roots }
}

fn tls(stand_of: std::net::SocketAddr, m: &Material) -> Stand {
    Stand::with(stand_of, |plan| {
        let listener = listener(plan);
        listener.protocols = Protocols { h1: true, h2: true, ..Protocols::default() };
        listener.tls_min = TlsVersion::V1_2;
        listener.hsts = Duration::from_secs(60);
        listener.certificates = vec![lb_model::http::Certificate {
            names: Vec::new(),
            source: lb_model::http::CertificateSource::Files { cert: m.cert.clone(), key: m.key.clone() },
        }];
    })
}

async fn handshake(
    address: std::net::SocketAddr,
    m: &Material,
    alpn: &[&[u8]],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(m.roots.clone())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|a| a.to_vec()).collect();
    let stream = TcpStream::connect(address).await.expect("a connection");
    let name = "h.test".try_into().expect("a name");
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake")
}

#[test]
fn over_tls_both_versions_by_negotiation() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (backend, m) = (Backend::echo(), material());
    let stand = tls(backend.address, &m);
    block_on(async {
        let mut stream = handshake(stand.address, &m, &[b"http/1.1"]).await;
        let ask = "GET / HTTP/1.1\r\nHost: h.test\r\nConnection: close\r\n\r\n";
        stream.write_all(ask.as_bytes()).await.expect("sent");
        let mut all = String::new();
        stream.read_to_string(&mut all).await.expect("a clean end");
        assert!(all.starts_with("HTTP/1.1 200 ") && all.contains("strict-transport-security: max-age=60"), "{all}");
        let stream = handshake(stand.address, &m, &[b"h2"]).await;
        let (send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        let mut send = send.ready().await.expect("ready");
        let ask = Request::builder().uri("https://h.test/").body(()).expect("a request");
        let (answer, _) = send.send_request(ask, true).expect("sent");
        let seen = text(answer.await.expect("an answer").into_body()).await.to_ascii_lowercase();
        assert!(seen.contains("\r\nx-forwarded-proto: https\r\n"), "{seen}");
        let mut send = send.ready().await.expect("ready");
        let ask = Request::builder().uri("https://other.test/").body(()).expect("a request");
        let (answer, _) = send.send_request(ask, true).expect("sent");
        assert_eq!(answer.await.expect("an answer").status(), 200, "a route without host takes every host");
    });
    let mut stand = stand;
    stand.change(|plan| route(plan).matching.hosts = vec![lb_model::http::HostPattern::Exact("h.test".to_owned())]);
    block_on(async {
        let stream = handshake(stand.address, &m, &[b"h2"]).await;
        let (send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        let mut send = send.ready().await.expect("ready");
        let ask = Request::builder().uri("https://other.test/").body(()).expect("a request");
        let (answer, _) = send.send_request(ask, true).expect("sent");
        assert_eq!(answer.await.expect("an answer").status(), 421);
    });
    let clear = Client::to(stand.address).ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(!clear.starts_with("HTTP/1.1 2"), "clear text where TLS is spoken: {clear}");
    assert_eq!(stand.gateway.certificates().len(), 1);
}

#[test]
fn idle_connections_end_and_busy_ones_are_told_to_go() {
    let backend = Backend::start(|_| {
        std::thread::park_timeout(Duration::from_millis(400));
        response("200 OK", "", b"late")
    });
    let stand = Stand::with(backend.address, |plan| {
        listener(plan).protocols = both();
        listener(plan).timeouts.idle = Duration::from_millis(500);
    });
    let address = stand.address;
    block_on(async {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let (send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        let over = tokio::spawn(connection);
        let mut send = send.ready().await.expect("ready");
        let (answer, _) = send.send_request(request(Method::GET, "/"), true).expect("sent");
        assert_eq!(text(answer.await.expect("an answer").into_body()).await, "late");
        let _end = tokio::time::timeout(Duration::from_secs(5), over).await.expect("GOAWAY and the end");
        let mut send = connect(address).await;
        let (answer, _) = send.send_request(request(Method::GET, "/"), true).expect("sent");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let Stand { gateway, .. } = stand;
        let ending = std::thread::spawn(move || gateway.stop(Duration::from_secs(8)));
        assert_eq!(text(answer.await.expect("an answer").into_body()).await, "late");
        drop(send);
        let cut = tokio::task::spawn_blocking(move || ending.join()).await.expect("no panic").expect("no panic");
        assert_eq!(cut, 0, "nothing was cut off");
    });
}
