//! Backends that speak HTTP/2, and TLS.

mod support;

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use lb_message::Body;
use lb_model::http::{HttpPool, Refusal, UpstreamProtocol, UpstreamTls};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use support::*;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Answers with what it saw; counts connections.
async fn server(tls: Option<TlsAcceptor>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.expect("a connection");
            count.fetch_add(1, SeqCst);
            let tls = tls.clone();
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let service = service_fn(answer);
                // Whoever goes away goes away.
                match tls {
                    None => drop(builder.serve_connection(TokioIo::new(tcp), service).await),
                    Some(acceptor) => {
                        if let Ok(tls) = acceptor.accept(tcp).await {
                            drop(builder.serve_connection(TokioIo::new(tls), service).await);
                        }
                    }
                }
            });
        }
    });
    (address, connections)
}

type Streamed = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn answer(request: Request<Incoming>) -> Result<Response<Streamed>, Infallible> {
    if request.uri().path() == "/slow" {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let said = format!(
        "{:?} {} {} host={:?} te={:?} body={}",
        head.version,
        head.method,
        head.uri,
        head.headers.get("host"),
        head.headers.get("te"),
        body.len()
    );
    if head.uri.path() == "/grpc" {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().expect("a value"));
        trailers.insert("content-length", "5".parse().expect("a value"));
        let frames = [Ok(Frame::data(Bytes::from(said))), Ok(Frame::trailers(trailers))];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        return Ok(Response::builder()
            .header("content-type", "application/grpc")
            .body(body.boxed())
            .expect("a response"));
    }
    Ok(Response::new(Full::new(Bytes::from(said)).boxed()))
}

fn h2c() -> HttpPool {
    HttpPool { protocol: UpstreamProtocol::H2c, ..HttpPool::default() }
}

#[test]
fn http2_in_clear_text_shares_a_connection() {
    worker(async {
        let (address, connections) = server(None).await;
        let world = Rc::new(World::new(h2c(), vec![member(address)]));
        let said = world.text(get()).await;
        assert_eq!(said, format!("HTTP/2.0 GET http://a.test/a?b=c host=None te=None body=0"));
        let done = Rc::new(RefCell::new(0));
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let (world, done) = (Rc::clone(&world), Rc::clone(&done));
                tokio::task::spawn_local(async move {
                    let mut request = post("hello");
                    *request.uri_mut() = "/slow".parse().expect("a path");
                    assert!(world.text(request).await.ends_with("body=5"));
                    *done.borrow_mut() += 1;
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("an answer");
        }
        assert_eq!((*done.borrow(), connections.load(SeqCst), world.active()), (20, 1, 0));
    });
}

#[test]
fn the_first_requests_together_make_one_connection() {
    worker(async {
        let (address, connections) = server(None).await;
        let world = World::new(h2c(), vec![member(address)]);
        let (a, b, c) = tokio::join!(world.text(get()), world.text(get()), world.text(get()));
        assert_eq!((a == b, b == c), (true, true));
        assert_eq!(connections.load(SeqCst), 1);
        let refused = World::new(h2c(), vec![member(dead())]);
        let (a, b) = tokio::join!(refused.send(get()), refused.send(get()));
        for failure in [a.expect_err("nobody"), b.expect_err("nobody")] {
            assert_eq!(failure.refusal, Refusal::ConnectFailed);
        }
    });
}

#[test]
fn grpc_trailers_pass_and_others_do_not() {
    worker(async {
        let (address, _) = server(None).await;
        let world = World::new(h2c(), vec![member(address)]);
        let request = Request::post("/grpc").header("host", "a.test").header("te", "trailers");
        let answer = world.send(request.body(Body::full("x")).expect("a request")).await.expect("an answer");
        let body = answer.response.into_body().collect().await.expect("a whole body");
        let trailers = body.trailers().expect("trailers").clone();
        assert_eq!(trailers.keys().map(|n| n.as_str()).collect::<Vec<_>>(), ["grpc-status"]);
        let said = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        assert!(said.contains("te=Some(\"trailers\")"), "{said}");
    });
}

#[test]
fn an_upgrade_does_not_go_over_http2() {
    worker(async {
        let (address, _) = server(None).await;
        let world = World::new(h2c(), vec![member(address)]);
        let mut request = get();
        request.headers_mut().insert("connection", "upgrade".parse().expect("a value"));
        request.headers_mut().insert("upgrade", "websocket".parse().expect("a value"));
        assert_eq!(world.send(request).await.expect_err("refused").refusal, Refusal::UpgradeRefused);
    });
}

struct Pki {
    folder: tempfile::TempDir,
    acceptor: TlsAcceptor,
}

/// A certificate for `web.internal` that is its own authority.
fn pki(alpn: &[&[u8]]) -> Pki {
    let made = rcgen::generate_simple_self_signed(vec!["web.internal".to_owned()]).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("ca.pem"), made.cert.pem()).expect("written");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a pair");
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    Pki { folder, acceptor: TlsAcceptor::from(Arc::new(config)) }
}

impl Pki {
    fn pool(&self, protocol: UpstreamProtocol, name: Option<&str>, verify: bool) -> HttpPool {
        let tls = UpstreamTls {
            ca: Some(self.folder.path().join("ca.pem")),
            server_name: name.map(str::to_owned),
            client: None,
            verify,
        };
        HttpPool { protocol, tls: Some(tls), ..HttpPool::default() }
    }
}

#[test]
fn tls_is_verified_by_name() {
    worker(async {
        let pki = pki(&[b"h2", b"http/1.1"]);
        let (address, connections) = server(Some(pki.acceptor.clone())).await;
        let world = World::new(pki.pool(UpstreamProtocol::H1, Some("web.internal"), true), vec![member(address)]);
        assert!(world.text(get()).await.starts_with("HTTP/1.1 GET /a?b=c"));
        world.text(get()).await;
        assert_eq!(connections.load(SeqCst), 1);
        // The same files and keys: the connection stays. Another name: it does not.
        install(
            &world.upstreams,
            plan(pki.pool(UpstreamProtocol::H1, Some("web.internal"), true), vec![member(address)]),
        );
        world.text(get()).await;
        assert_eq!(connections.load(SeqCst), 1);
        let world = World::new(pki.pool(UpstreamProtocol::H2, Some("web.internal"), true), vec![member(address)]);
        assert!(world.text(get()).await.starts_with("HTTP/2.0 GET https://a.test/a?b=c"));
        let world = World::new(pki.pool(UpstreamProtocol::H1, Some("other.internal"), true), vec![member(address)]);
        assert_eq!(world.send(get()).await.expect_err("another name").refusal, Refusal::BackendTls);
        let world = World::new(pki.pool(UpstreamProtocol::H1, None, true), vec![member(address)]);
        assert_eq!(world.send(get()).await.expect_err("an address").refusal, Refusal::BackendTls);
        let world = World::new(pki.pool(UpstreamProtocol::H1, None, false), vec![member(address)]);
        assert!(world.text(get()).await.starts_with("HTTP/1.1"), "not verified");
    });
}

#[test]
fn what_cannot_be_had_is_said_beforehand() {
    let upstreams = lb_upstream::Upstreams::new([0; 32]);
    let refused = |http: HttpPool| {
        let plan = plan(http, vec![]);
        upstreams.prepare(&[(name(), Arc::new(plan))].into()).expect_err("refused").join("\n")
    };
    let h2 = HttpPool { protocol: UpstreamProtocol::H2, ..HttpPool::default() };
    assert!(refused(h2).starts_with("pool 'web': protocol 'h2' needs 'tls'"));
    let tls = UpstreamTls { ca: Some("/nowhere/ca.pem".into()), server_name: None, client: None, verify: true };
    assert!(refused(HttpPool { tls: Some(tls), ..HttpPool::default() }).contains("/nowhere/ca.pem"));
    assert!(upstreams.pool(&name()).is_none());
}

#[test]
fn a_backend_that_does_not_speak_http2_is_a_tls_failure() {
    worker(async {
        let pki = pki(&[]);
        let (address, _) = server(Some(pki.acceptor.clone())).await;
        let world = World::new(pki.pool(UpstreamProtocol::H2, Some("web.internal"), true), vec![member(address)]);
        assert_eq!(world.send(get()).await.expect_err("no h2").refusal, Refusal::BackendTls);
    });
}

#[test]
fn what_the_backend_did_not_look_at_is_sent_again_whatever_the_method() {
    worker(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.expect("a connection");
            let mut connection = h2::server::handshake(tcp).await.expect("HTTP/2");
            let mut n = 0;
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                n += 1;
                if n == 1 {
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                } else if request.uri().path() == "/cancel" {
                    respond.send_reset(h2::Reason::CANCEL);
                } else {
                    respond.send_response(Response::new(()), true).expect("sent");
                }
            }
        });
        let world = World::new(h2c(), vec![member(address)]);
        let answer = world.send(post("pay")).await.expect("an answer");
        assert_eq!((answer.response.status().as_u16(), answer.retries), (200, 1));
        let mut request = post("pay");
        *request.uri_mut() = "/cancel".parse().expect("a path");
        let failure = world.send(request).await.expect_err("not sent again");
        assert_eq!((failure.refusal, failure.retries), (Refusal::BackendClosed, 0));
    });
}

#[test]
fn a_connection_that_died_at_rest_is_replaced() {
    worker(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            loop {
                // Each connection answers one request and dies at the second.
                let (tcp, _) = listener.accept().await.expect("a connection");
                let mut connection = h2::server::handshake(tcp).await.expect("HTTP/2");
                let mut n = 0;
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    n += 1;
                    if n == 2 {
                        break;
                    }
                    respond.send_response(Response::new(()), true).expect("sent");
                }
            }
        });
        let mut world = World::new(h2c(), vec![member(address)]);
        world.route.retry.attempts = 0;
        for _ in 0..5 {
            let answer = world.send(get()).await.expect("an answer");
            assert_eq!((answer.response.status().as_u16(), answer.retries), (200, 0));
        }
    });
}

#[test]
fn a_connection_that_has_gone_silent_gets_no_further_requests() {
    worker(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.expect("a connection");
            let mut first = h2::server::handshake(tcp).await.expect("HTTP/2");
            let (_, mut respond) = first.accept().await.expect("a request").expect("whole");
            respond.send_response(Response::new(()), true).expect("sent");
            let flushed = tokio::time::timeout(Duration::from_millis(50), first.accept()).await;
            assert!(flushed.is_err());
            // From here on the first connection is neither read nor closed.
            let (tcp, _) = listener.accept().await.expect("a connection");
            let mut second = h2::server::handshake(tcp).await.expect("HTTP/2");
            while let Some(Ok((_, mut respond))) = second.accept().await {
                respond.send_response(Response::new(()), true).expect("sent");
            }
            drop(first);
        });
        let mut world = World::new(h2c(), vec![member(address)]);
        world.text(get()).await;
        tokio::time::sleep(Duration::from_millis(80)).await;
        world.route.timeouts.request = Duration::from_millis(100);
        assert_eq!(world.send(get()).await.expect_err("silent").refusal, Refusal::BackendTimeout);
        assert_eq!(world.text(get()).await, "");
    });
}
