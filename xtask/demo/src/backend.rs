//! Backends that name themselves in every answer: HTTP/1.1 and UDP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, UdpSocket};

/// Answers every request with its name; `/healthz` too, which is all a health check asks for.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn http(name: &str, listen: SocketAddr) -> Result<ExitCode> {
    let listener = TcpListener::bind(listen).await?;
    let body = Bytes::from(name.to_owned());
    loop {
        let (stream, _) = listener.accept().await?;
        let body = body.clone();
        let answer = move |_: Request<Incoming>| {
            let body = body.clone();
            async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
        };
        tokio::spawn(async move {
            let service = hyper::service::service_fn(answer);
            // A client that goes away is no concern of ours.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Says what it saw: its name, the path and the client it was told of. Prices may be cached; the catalogue is long.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn service(name: &str, listen: SocketAddr) -> Result<ExitCode> {
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let name = name.to_owned();
        let answer = move |request: Request<Incoming>| {
            let answer = seen(&name, &request);
            async move { Ok::<_, Infallible>(answer) }
        };
        tokio::spawn(async move {
            let service = hyper::service::service_fn(answer);
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn seen(name: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let told = request.headers().get("x-forwarded-for").and_then(|v| v.to_str().ok()).unwrap_or("nobody");
    let path = request.uri().path();
    let line = format!("{name} saw {path} for {told}\n");
    let text = if path.ends_with("/all") { line.repeat(200) } else { line };
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    answer.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("text/plain; charset=utf-8"));
    if path.ends_with("/prices") {
        answer.headers_mut().insert("cache-control", hyper::header::HeaderValue::from_static("public, max-age=60"));
    }
    answer
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn udp(name: &str, listen: SocketAddr) -> Result<ExitCode> {
    let socket = UdpSocket::bind(listen).await?;
    let mut datagram = [0; 2048];
    loop {
        let (_, from) = socket.recv_from(&mut datagram).await?;
        socket.send_to(name.as_bytes(), from).await?;
    }
}
