//! `type = "http"` and `"https"`: a GET is answered by an expected status.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use lb_model::StatusRange;
use lb_model::http::UpstreamTls;
use tokio::io::{AsyncRead, AsyncWrite};

use super::tcp::connect;
use super::{exchange_words, tls};
use crate::Outcome;

/// What is asked, and which answers are good.
pub(super) struct Ask<'a> {
    pub(super) path: &'a str,
    pub(super) host: Option<&'a str>,
    pub(super) expect: &'a [StatusRange],
}

/// One request on a connection of its own. The body is not read: a status is an answer.
pub(super) async fn probe(address: SocketAddr, ask: &Ask<'_>) -> Outcome {
    exchange(connect(address).await?, address, ask).await
}

/// The same over TLS, verified as the pool's `tls` says.
pub(super) async fn probe_tls(address: SocketAddr, ask: &Ask<'_>, how: &UpstreamTls) -> Outcome {
    exchange(tls::connect(address, how, ask.host, tls::Alpn::Http1).await?, address, ask).await
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, address: SocketAddr, ask: &Ask<'_>) -> Outcome {
    let host = ask.host.map_or_else(|| address.to_string(), str::to_owned);
    let request = Request::builder()
        .method(Method::GET)
        .uri(ask.path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("lb-health/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|e| format!("the request cannot be built: {e}"))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| exchange_words(&e))?;
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
    let status = exchange.await.map_err(|e| exchange_words(&e))?.status().as_u16();
    if ask.expect.iter().any(|range| range.contains(status)) {
        Ok(())
    } else {
        Err(format!("status {status}, expected {}", ranges(ask.expect)))
    }
}

fn ranges(expect: &[StatusRange]) -> String {
    let one = |r: &StatusRange| {
        if r.first == r.last { r.first.to_string() } else { format!("{}-{}", r.first, r.last) }
    };
    expect.iter().map(one).collect::<Vec<_>>().join(", ")
}
