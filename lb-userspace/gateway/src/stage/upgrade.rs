//! Connections that become tunnels: which may, how it is asked of the backend, and what its 101 must be.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{
    ALT_SVC, CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, SERVER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use hyper::ext::Protocol;
use lb_message::Body;
use lb_model::http::Refusal;

use super::Fault;
pub use super::tunnel::{TunnelEnd, TunnelRules, Tunnelled, tunnel};

const WEBSOCKET: &str = "websocket";

/// An upgrade that may be asked of the backend.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Lower case: `websocket`. For [`super::hop::request`].
    pub protocol: HeaderValue,
    pub websocket: bool,
    /// Asked in HTTP/2 or HTTP/3 (RFC 8441, RFC 9220): the client's answer is a 200.
    pub extended: bool,
    /// What the backend's Sec-WebSocket-Accept must be, where the key is ours; a client checks its own.
    accept: Option<HeaderValue>,
}

/// What a request asks for. `protocols`: the route's `upgrade`. Changes an extended CONNECT into the GET that a backend
/// of HTTP/1.1 understands. `None`: a request like any other; an upgrade that it asked for is not passed on, as RFC 9110
/// §7.8 allows (h2c among them, which HTTP/2 no longer knows: RFC 9113 §3.1).
///
/// # Errors
/// [`Refusal::UpgradeRefused`] for a WebSocket that the route forbids, which nothing else could serve;
/// [`Refusal::BadRequest`] for a handshake that is none.
pub fn asked(parts: &mut Parts, protocols: &[String]) -> Result<Option<Asked>, Fault> {
    if let Some(protocol) = parts.extensions.get::<Protocol>() {
        let named = protocol.as_str().eq_ignore_ascii_case(WEBSOCKET) && names(protocols, WEBSOCKET);
        return if named { Ok(Some(extended(parts))) } else { Err(FORBIDDEN) };
    }
    if parts.version != Version::HTTP_11 || !parts.headers.contains_key(UPGRADE) || !wants_upgrade(&parts.headers) {
        return Ok(None);
    }
    let offered: Vec<String> = tokens(&parts.headers, &UPGRADE).map(str::to_ascii_lowercase).collect();
    let Some(chosen) = offered.iter().find(|p| names(protocols, p)) else {
        return if names(&offered, WEBSOCKET) { Err(FORBIDDEN) } else { Ok(None) };
    };
    let websocket = chosen == WEBSOCKET;
    if websocket {
        judge_handshake(parts)?;
    } else if has_body(&parts.headers) {
        return Ok(None);
    }
    let Ok(protocol) = HeaderValue::from_str(chosen) else { return Ok(None) };
    Ok(Some(Asked { protocol, websocket, extended: false, accept: None }))
}

/// The client's answer to a backend's 101; the tunnel begins after it.
///
/// # Errors
/// [`Refusal::BadResponse`] if it is a 101 that nobody asked for, or to something else.
pub fn accepted(asked: Option<&Asked>, headers: &HeaderMap) -> Result<Response<Body>, Fault> {
    let Some(asked) = asked else { return Err(bad_response("an upgrade that nobody asked for")) };
    let wanted = asked.protocol.to_str().unwrap_or_default();
    let mut chosen = tokens(headers, &UPGRADE);
    if !chosen.next().is_some_and(|t| t.eq_ignore_ascii_case(wanted)) || chosen.next().is_some() {
        return Err(bad_response("an upgrade to another protocol"));
    }
    if let Some(accept) = &asked.accept
        && headers.get(SEC_WEBSOCKET_ACCEPT) != Some(accept)
    {
        return Err(bad_response("a handshake that does not answer ours"));
    }
    let mut fields = headers.clone();
    super::hop::response(&mut fields);
    for name in [SERVER, ALT_SVC, CONTENT_LENGTH, HeaderName::from_static("x-powered-by")] {
        fields.remove(name);
    }
    let mut response = Response::new(Body::Empty);
    if asked.extended {
        fields.remove(SEC_WEBSOCKET_ACCEPT);
    } else {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert(UPGRADE, asked.protocol.clone());
    }
    *response.headers_mut() = fields;
    Ok(response)
}

/// RFC 8441 §5.1: the same handshake, but for the key, which only HTTP/1.1 needs.
fn extended(parts: &mut Parts) -> Asked {
    parts.extensions.remove::<Protocol>();
    parts.method = Method::GET;
    parts.version = Version::HTTP_11;
    let key = BASE64_STANDARD.encode(rand::random::<[u8; 16]>());
    let accept = accept(key.as_bytes());
    let field = |text: String| HeaderValue::try_from(text).ok();
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.entry(SEC_WEBSOCKET_VERSION).or_insert(HeaderValue::from_static("13"));
    if let Some(key) = field(key) {
        parts.headers.insert(SEC_WEBSOCKET_KEY, key);
    }
    Asked { protocol: HeaderValue::from_static(WEBSOCKET), websocket: true, extended: true, accept: field(accept) }
}

/// RFC 6455 §4.2.2.
fn accept(key: &[u8]) -> String {
    let mut text = key.to_vec();
    text.extend_from_slice(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64_STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &text))
}

/// RFC 6455 §4.2.1, as far as a tunnel depends on it: what the backend would not take for a handshake must not become a
/// request whose answer is taken for one. The version is the backend's to judge.
fn judge_handshake(parts: &Parts) -> Result<(), Fault> {
    let mut keys = parts.headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let key = keys.next().is_some_and(|k| BASE64_STANDARD.decode(k.as_bytes()).is_ok_and(|k| k.len() == 16));
    if parts.method != Method::GET || !key || keys.next().is_some() || has_body(&parts.headers) {
        return Err(Fault::last(Refusal::BadRequest, "the WebSocket handshake is not valid"));
    }
    Ok(())
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|v| v.as_bytes() != b"0")
}

fn wants_upgrade(headers: &HeaderMap) -> bool {
    tokens(headers, &CONNECTION).any(|t| t.eq_ignore_ascii_case("upgrade"))
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    values.filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim).filter(|t| !t.is_empty())
}

fn names(protocols: &[String], protocol: &str) -> bool {
    protocols.iter().any(|p| p == protocol)
}

const fn bad_response(detail: &'static str) -> Fault {
    Fault::new(Refusal::BadResponse, detail)
}

const FORBIDDEN: Fault = Fault::last(Refusal::UpgradeRefused, "this route takes no such upgrade");

#[cfg(test)]
mod tests;
