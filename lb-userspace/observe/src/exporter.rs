//! Serves `/metrics` over plain HTTP.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::metrics::Snapshot;
use crate::text;

/// Scrapers are few; more at once is somebody else.
const MAX_CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be served on {address}: {source}")]
pub struct ExporterError {
    pub address: SocketAddr,
    pub source: std::io::Error,
}

/// An address bound, before there is anything to serve: a daemon that cannot have it must not start the rest.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    listener: TcpListener,
}

impl Endpoint {
    /// # Errors
    /// If the address cannot be bound.
    pub async fn bind(address: SocketAddr) -> Result<Self, ExporterError> {
        let fail = |source| ExporterError { address, source };
        let listener = TcpListener::bind(address).await.map_err(fail)?;
        Ok(Self { address: listener.local_addr().map_err(fail)?, listener })
    }

    /// One that another process has bound and handed over.
    ///
    /// # Errors
    /// If it is no listening socket.
    pub fn inherited(listener: std::net::TcpListener) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { address: listener.local_addr()?, listener: TcpListener::from_std(listener)? })
    }

    /// A duplicate of the socket, for a process that takes over.
    ///
    /// # Errors
    /// Of dup(2).
    pub fn duplicate(&self) -> std::io::Result<std::os::fd::OwnedFd> {
        use std::os::fd::AsFd as _;
        self.listener.as_fd().try_clone_to_owned()
    }

    /// The address in use.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves what `source` gives at each scrape.
    pub fn serve<S, F>(self, source: S) -> Exporter
    where
        S: Fn() -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Snapshot> + Send + 'static,
    {
        Exporter { task: tokio::spawn(accept(self.listener, source)) }
    }
}

/// The serving task; it ends when this is dropped.
#[derive(Debug)]
pub struct Exporter {
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept<S, F>(listener: TcpListener, source: S)
where
    S: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Snapshot> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, source.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "the metrics endpoint cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve<S, F>(stream: TcpStream, source: S)
where
    S: Fn() -> F + Send + Sync,
    F: Future<Output = Snapshot> + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let source = &source;
        async move { Ok::<_, Infallible>(answer(&request, source).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a metrics connection broke");
    }
}

async fn answer<S, F>(request: &Request<Incoming>, source: &S) -> Response<Full<Bytes>>
where
    S: Fn() -> F,
    F: Future<Output = Snapshot>,
{
    let plain = |status, text: &'static str| {
        let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "the metrics are at /metrics\n");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let mut response = Response::new(Full::new(Bytes::from(source().await.render())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(text::CONTENT_TYPE));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    #[tokio::test]
    async fn metrics_over_http() {
        let source = || async { Snapshot { flows: 42, ..Snapshot::default() } };
        let endpoint = Endpoint::bind(([127, 0, 0, 1], 0).into()).await.expect("an endpoint");
        let address = endpoint.address();
        let _exporter = endpoint.serve(source);
        let get = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(get.starts_with("HTTP/1.1 200") && get.contains("version=0.0.4"), "{get}");
        assert!(get.contains("\nlb_flows 42\n"), "{get}");
        let wrong = ask(address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(wrong.starts_with("HTTP/1.1 404"), "{wrong}");
        let post = ask(address, "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(post.starts_with("HTTP/1.1 405"), "{post}");
    }
}
