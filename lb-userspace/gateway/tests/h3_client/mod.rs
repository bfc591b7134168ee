//! An HTTP/3 client that is not ours (h3 over h3-quinn), and a gateway for it.
#![allow(dead_code, reason = "each suite uses a part")]

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, Request, Response};
use lb_model::http::{Certificate, CertificateSource};
use quinn::crypto::rustls::QuicClientConfig;

use crate::stand::{PATIENCE, Stand, listener};

pub(crate) type Sender = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;
pub(crate) type Exchange = h3::client::RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

pub(crate) struct H3 {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) quic: quinn::Connection,
    pub(crate) sender: Sender,
    _driver: tokio::task::JoinHandle<()>,
}

/// A listener with a certificate for `h.test`, and HTTP/3 beside the others.
pub(crate) fn stand(backend: SocketAddr, change: impl FnOnce(&mut lb_gateway::HttpPlan)) -> Stand {
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

pub(crate) fn trusting() -> quinn::ClientConfig {
    let tls = lb_model::http::UpstreamTls { ca: None, server_name: None, client: None, verify: false };
    let tls = lb_certs::client::config(&tls, &[b"h3"]).expect("client");
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("TLS 1.3")))
}

impl H3 {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self::try_to(address).expect("connected")
    }

    pub(crate) fn try_to(address: SocketAddr) -> Option<Self> {
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

    pub(crate) fn run<T>(&mut self, work: impl AsyncFnOnce(&mut Sender) -> T) -> T {
        let Self { runtime, sender, .. } = self;
        runtime.block_on(async { tokio::time::timeout(PATIENCE, work(sender)).await.expect("in time") })
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        let request = Request::get(format!("https://h.test{path}")).body(()).expect("a request");
        self.run(async |sender| {
            let mut exchange = sender.send_request(request).await.expect("sent");
            exchange.finish().await.expect("ended");
            Answer::of(&mut exchange).await
        })
    }
}

pub(crate) struct Answer {
    pub(crate) head: Response<()>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    pub(crate) async fn of(exchange: &mut Exchange) -> Self {
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
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(crate) fn post() -> http::request::Builder {
    Request::post("https://h.test/up")
}

/// Bytes that no shift or loss leaves the same.
pub(crate) fn pattern(length: usize) -> Bytes {
    (0..length).map(|i| (i % 251) as u8 ^ (i >> 11) as u8).collect()
}
