//! `type = "grpc"`: grpc.health.v1.Health/Check is answered SERVING.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use lb_model::http::UpstreamTls;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{exchange_words, tcp, tls};
use crate::Outcome;

/// One call on a connection of its own: HTTP/2 with prior knowledge, or over TLS.
pub(super) async fn probe(address: SocketAddr, service: &str, how: Option<&UpstreamTls>) -> Outcome {
    match how {
        None => call(tcp::connect(address).await?, address, service, "http").await,
        Some(how) => call(tls::connect(address, how, None, tls::Alpn::Http2).await?, address, service, "https").await,
    }
}

async fn call<S>(stream: S, address: SocketAddr, service: &str, scheme: &str) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let origin: Uri =
        format!("{scheme}://{address}").parse().map_err(|e| format!("the request cannot be built: {e}"))?;
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(|e| exchange_words(&e))?;
    let mut client = HealthClient::with_origin(Connection(sender), origin).max_decoding_message_size(64 << 10);
    let check = client.check(HealthCheckRequest { service: service.to_owned() });
    tokio::pin!(connection, check);
    let answer = tokio::select! {
        got = &mut check => got,
        // The end of the connection reaches the call too.
        _ = &mut connection => check.await,
    };
    let status = answer.map_err(|status| refused(&status))?.into_inner().status();
    if status == ServingStatus::Serving { Ok(()) } else { Err(format!("the service is {}", status.as_str_name())) }
}

fn refused(status: &tonic::Status) -> String {
    let cause = std::error::Error::source(status).and_then(|s| s.downcast_ref::<hyper::Error>());
    match (cause, status.message()) {
        (Some(error), _) => exchange_words(error),
        (None, "") => format!("gRPC status {:?}", status.code()),
        (None, message) => format!("gRPC status {:?}: {message}", status.code()),
    }
}

/// A hyper connection as tonic wants to see one.
struct Connection(SendRequest<Body>);

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
