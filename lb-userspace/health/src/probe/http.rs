//! `type = "http"`: a GET is answered by an expected status.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use lb_model::StatusRange;

use super::tcp::connect;
use crate::Outcome;

/// One request on a connection of its own. The body is not read: a status is an answer.
pub(super) async fn probe(address: SocketAddr, path: &str, host: Option<&str>, expect: &[StatusRange]) -> Outcome {
    let host = host.map_or_else(|| address.to_string(), str::to_owned);
    let request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("lb-health/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|e| format!("the request cannot be built: {e}"))?;
    let stream = connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| words(&e))?;
    let exchange = async {
        tokio::pin!(connection);
        let answer = sender.send_request(request);
        tokio::pin!(answer);
        tokio::select! {
            got = &mut answer => got,
            // The end of the connection reaches `answer` too, as a status or an error.
            _ = &mut connection => answer.await,
        }
    };
    let status = exchange.await.map_err(|e| words(&e))?.status().as_u16();
    if expect.iter().any(|range| range.contains(status)) {
        Ok(())
    } else {
        Err(format!("status {status}, expected {}", ranges(expect)))
    }
}

fn ranges(expect: &[StatusRange]) -> String {
    let one = |r: &StatusRange| {
        if r.first == r.last { r.first.to_string() } else { format!("{}-{}", r.first, r.last) }
    };
    expect.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A failed exchange in an operator's words.
fn words(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error).and_then(|s| s.downcast_ref::<std::io::Error>());
    if let Some(io) = cause {
        super::words(io)
    } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        "the connection was closed before an answer".into()
    } else if error.is_parse() {
        "the answer is not HTTP".into()
    } else {
        error.to_string()
    }
}
