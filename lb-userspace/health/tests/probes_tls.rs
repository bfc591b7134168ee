//! HTTPS and gRPC probes against real servers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use lb_health::{Target, probe};
use lb_model::http::UpstreamTls;
use lb_model::{HealthCheck, HealthKind, StatusRange};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic_health::server::health_reporter;

fn target(address: SocketAddr, kind: HealthKind) -> Target {
    let timeout = Duration::from_secs(5);
    let interval = Duration::from_secs(1);
    Target { address, check: HealthCheck { kind, interval, timeout, rise: 1, fall: 1, jitter_percent: 0, port: None } }
}

struct Pki {
    folder: tempfile::TempDir,
    acceptor: TlsAcceptor,
}

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
    fn tls(&self, name: Option<&str>, verify: bool) -> UpstreamTls {
        let ca: PathBuf = self.folder.path().join("ca.pem");
        UpstreamTls { ca: Some(ca), server_name: name.map(str::to_owned), client: None, verify }
    }
}

/// Serves gRPC health and, on other paths, what `status` says; over TLS or not.
async fn server(tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (reporter, health) = health_reporter();
    reporter.set_service_status("up", tonic_health::ServingStatus::Serving).await;
    reporter.set_service_status("down", tonic_health::ServingStatus::NotServing).await;
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (tls, health) = (tls.clone(), health.clone());
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let service = TowerToHyperService::new(health);
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
    address
}

/// Answers every request with this status.
async fn https(tls: TlsAcceptor, status: u16) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = tls.clone();
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(tcp).await else { return };
                let service =
                    hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| async move {
                        let status = if request.uri().path() == "/healthz" { status } else { 404 };
                        let body = http_body_util::Empty::<bytes::Bytes>::new();
                        Response::builder().status(status).body(body)
                    });
                drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service).await);
            });
        }
    });
    address
}

fn over_tls(host: Option<&str>, tls: UpstreamTls) -> HealthKind {
    let expect = vec![StatusRange { first: 200, last: 299 }];
    HealthKind::Https { path: "/healthz".into(), host: host.map(str::to_owned), expect, tls }
}

#[tokio::test]
async fn https_is_verified_as_the_pool_says() {
    let pki = pki(&[b"http/1.1"]);
    let good = https(pki.acceptor.clone(), 200).await;
    let run = async |address, kind| probe::run(&target(address, kind)).await;
    assert_eq!(run(good, over_tls(None, pki.tls(Some("web.internal"), true))).await, Ok(()));
    assert_eq!(run(good, over_tls(Some("web.internal"), pki.tls(None, true))).await, Ok(()));
    let why = run(good, over_tls(None, pki.tls(None, true))).await.expect_err("an address");
    assert!(why.starts_with("TLS: invalid peer certificate"), "{why}");
    let why = run(good, over_tls(None, pki.tls(Some("other.internal"), true))).await.expect_err("another name");
    assert!(why.starts_with("TLS: invalid peer certificate"), "{why}");
    assert_eq!(run(good, over_tls(None, pki.tls(None, false))).await, Ok(()));
    let bad = https(pki.acceptor.clone(), 503).await;
    let why = run(bad, over_tls(None, pki.tls(Some("web.internal"), true))).await.expect_err("503");
    assert_eq!(why, "status 503, expected 200-299");
    let clear = server(None).await;
    let why = run(clear, over_tls(None, pki.tls(None, false))).await.expect_err("no TLS");
    assert!(why.starts_with("TLS: "), "{why}");
    let nowhere = UpstreamTls { ca: Some("/nowhere.pem".into()), server_name: None, client: None, verify: true };
    let why = run(good, over_tls(None, nowhere)).await.expect_err("no such file");
    assert!(why.contains("/nowhere.pem"), "{why}");
}

#[tokio::test]
async fn grpc_says_whether_it_serves() {
    let pki = pki(&[b"h2"]);
    let (clear, secure) = (server(None).await, server(Some(pki.acceptor.clone())).await);
    let run = async |address, service: &str, tls| {
        probe::run(&target(address, HealthKind::Grpc { service: service.into(), tls })).await
    };
    for (address, tls) in [(clear, None), (secure, Some(pki.tls(Some("web.internal"), true)))] {
        assert_eq!(run(address, "", tls.clone()).await, Ok(()));
        assert_eq!(run(address, "up", tls.clone()).await, Ok(()));
        assert_eq!(run(address, "down", tls.clone()).await, Err("the service is NOT_SERVING".into()));
        let why = run(address, "none", tls).await.expect_err("unknown");
        assert!(why.starts_with("gRPC status NotFound"), "{why}");
    }
    assert!(run(secure, "", Some(pki.tls(Some("other"), true))).await.expect_err("a name").starts_with("TLS: "));
    let not_grpc = https(pki.acceptor.clone(), 200).await;
    assert!(run(not_grpc, "", None).await.is_err());
    let dead = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    assert_eq!(run(dead, "", None).await, Err("connection refused".into()));
}
