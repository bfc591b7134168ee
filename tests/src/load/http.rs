//! The backends' HTTP/1.1: `/healthz`, `/` naming the backend, `/bytes/N` a body of N bytes of the test pattern.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::lines::fill;
use super::server::State;

/// The largest body on offer.
const MOST: usize = 64 << 20;

pub(crate) async fn serve(stream: TcpStream, state: Arc<State>) -> Result<()> {
    stream.set_nodelay(true)?;
    let answer = move |request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(answer(&request, &state)) }
    };
    let service = hyper::service::service_fn(answer);
    Ok(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?)
}

fn answer(request: &Request<Incoming>, state: &State) -> Response<Full<Bytes>> {
    let (status, body) = match request.uri().path() {
        "/" => {
            state.requests.fetch_add(1, Ordering::Relaxed);
            (StatusCode::OK, Bytes::from(format!("{}\n", state.name)))
        }
        "/healthz" if state.healthy.load(Ordering::Relaxed) => (StatusCode::OK, Bytes::from_static(b"ok\n")),
        "/healthz" => (StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(b"told to be ill\n")),
        path => match path.strip_prefix("/bytes/").and_then(|n| n.parse::<usize>().ok()).filter(|n| *n <= MOST) {
            Some(n) => {
                state.requests.fetch_add(1, Ordering::Relaxed);
                let mut body = vec![0; n];
                fill(&mut body, 0);
                (StatusCode::OK, body.into())
            }
            None => (StatusCode::NOT_FOUND, Bytes::from_static(b"no such page\n")),
        },
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    if let Ok(name) = state.name.parse() {
        response.headers_mut().insert("x-backend", name);
    }
    response
}
