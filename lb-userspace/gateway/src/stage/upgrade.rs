//! Connections that become tunnels: which may, how it is asked of the backend, and the copying after its 101.

use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use lb_message::Body;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::Fault;

/// An upgrade that may be asked of the backend.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Lower case: `websocket`. For [`super::hop::request`].
    pub protocol: HeaderValue,
    pub websocket: bool,
    /// Asked in HTTP/2 or HTTP/3 (RFC 8441, RFC 9220): the client's answer is a 200.
    pub extended: bool,
    /// What the backend's Sec-WebSocket-Accept must be, where the key is ours.
    accept: Option<String>,
}

/// What a request asks for. `protocols`: the route's `upgrade`. Changes an extended CONNECT into the GET that a backend
/// of HTTP/1.1 understands. `None`: a request like any other (what else it asked for is not passed on).
///
/// # Errors
/// [`lb_model::http::Refusal::UpgradeRefused`] for a WebSocket that the route forbids; `BadRequest` for a handshake that is none.
pub fn asked(parts: &mut Parts, protocols: &[String]) -> Result<Option<Asked>, Fault> {
    let _ = (parts, protocols);
    Ok(None)
}

/// The client's answer to a backend's 101; the tunnel begins after it.
///
/// # Errors
/// [`lb_model::http::Refusal::BadResponse`] if it is a 101 that nobody asked for, or to something else.
pub fn accepted(asked: Option<&Asked>, headers: &HeaderMap) -> Result<Response<Body>, Fault> {
    let _ = (asked, headers);
    Ok(Response::new(Body::Empty))
}

#[derive(Clone, Debug)]
pub struct TunnelRules {
    /// Silence both ways; zero: no limit.
    pub idle: Duration,
    /// A WebSocket: told why it ends (1001).
    pub websocket: bool,
    /// The tunnel must end now.
    pub cancel: CancellationToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelEnd {
    /// Both sides are through.
    Closed,
    Idle,
    Cancelled,
    /// A side broke off.
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnelled {
    pub to_backend: u64,
    pub to_client: u64,
    pub end: TunnelEnd,
}

/// Copies both ways until both sides are done.
pub async fn tunnel<C, B>(client: C, backend: B, rules: &TunnelRules) -> Tunnelled
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let _ = (client, backend, rules);
    Tunnelled { to_backend: 0, to_client: 0, end: TunnelEnd::Closed }
}
