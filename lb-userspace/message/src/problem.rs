//! `application/problem+json` (RFC 9457) for what is refused; for gRPC a status in the head (gRPC over HTTP/2, Trailers-Only).

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use lb_model::http::Refusal;

use crate::Body;

/// A refusal as a client sees it.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    pub refusal: Refusal,
    /// In words; never names a backend.
    pub detail: &'a str,
    pub request_id: &'a str,
    /// Seconds.
    pub retry_after: Option<u32>,
    /// The request's content type is gRPC's.
    pub grpc: bool,
}

/// The response, with everything but what a listener adds to all of its responses.
#[must_use]
pub fn problem(p: &Problem<'_>) -> Response<Body> {
    let mut response = if p.grpc { grpc(p) } else { document(p) };
    if let Some(seconds) = p.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn document(p: &Problem<'_>) -> Response<Body> {
    let text = serde_json::json!({
        "type": format!("urn:lb:{}", p.refusal.name()),
        "title": p.refusal.title(),
        "status": p.refusal.code(),
        "detail": p.detail,
        "reason": p.refusal.name(),
        "request_id": p.request_id,
    });
    let mut response = Response::new(Body::full(text.to_string()));
    *response.status_mut() = p.refusal.status();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn grpc(p: &Problem<'_>) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::OK;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    fields.insert("grpc-status", HeaderValue::from(u16::from(p.refusal.grpc_status())));
    // Percent-encoding of grpc-message: our titles and details are plain ASCII without '%'.
    if let Ok(words) = HeaderValue::from_str(&format!("{}: {}", p.refusal.name(), p.detail)) {
        fields.insert("grpc-message", words);
    }
    response
}
