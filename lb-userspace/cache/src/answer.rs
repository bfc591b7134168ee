//! A response made of a stored one: whole, a part, or the news that nothing changed.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, AGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use lb_message::Body;

use crate::conditional::{Part, not_modified, part};
use crate::fill::Reader;
use crate::outcome::Outcome;
use crate::status::{CACHE_STATUS, Mark, appended};
use crate::stored::Stored;

/// The client's request, as far as the answer depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    /// It has a condition or a range: seldom, so looked at once.
    pub(crate) picky: bool,
}

/// A fresh hit; the common case, kept short.
pub(crate) fn hit(stored: &Stored, client: Client<'_>, now: SystemTime) -> Response<Body> {
    let mut response = if client.picky { picky(stored, client) } else { whole(stored, client) };
    response.headers_mut().insert(AGE, HeaderValue::from(stored.life.age(now).as_secs()));
    response.extensions_mut().insert(Outcome::Hit);
    response
}

/// Any other use of a stored response.
pub(crate) fn answer(
    stored: &Stored,
    client: Client<'_>,
    now: SystemTime,
    mark: &Mark,
    outcome: Outcome,
) -> Response<Body> {
    let mut response = hit(stored, client, now);
    set_mark(response.headers_mut(), mark);
    response.extensions_mut().insert(outcome);
    response
}

/// With a body that is still arriving; what is asked for beyond a condition is the whole.
pub(crate) fn filling(
    head: &Arc<Stored>,
    body: Reader,
    client: Client<'_>,
    now: SystemTime,
    mark: &Mark,
) -> Response<Body> {
    let mut response = if client.picky && head.status == StatusCode::OK && not_modified(client.headers, &head.headers) {
        unchanged(head)
    } else {
        let mut response = Response::new(if *client.method == Method::HEAD { Body::Empty } else { Body::boxed(body) });
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers.clone();
        response
    };
    let age = head.life.age(now).as_secs();
    if age == 0 {
        response.headers_mut().remove(AGE);
    } else {
        response.headers_mut().insert(AGE, HeaderValue::from(age));
    }
    set_mark(response.headers_mut(), mark);
    response.extensions_mut().insert(Outcome::Miss);
    response
}

/// The stored fields end with "lb; hit": that entry is replaced.
fn set_mark(headers: &mut HeaderMap, mark: &Mark) {
    let ours = mark.value();
    let value = match headers.get(CACHE_STATUS).and_then(|v| v.as_bytes().strip_suffix(b", lb; hit")) {
        Some(upstream) => {
            let all = [upstream, b", ", ours.as_bytes()].concat();
            HeaderValue::from_bytes(&all).unwrap_or(ours)
        }
        None => ours,
    };
    headers.insert(CACHE_STATUS, value);
}

/// A response that the cache only passed on.
pub(crate) fn passed(mut response: Response<Body>, mark: &Mark, outcome: Outcome) -> Response<Body> {
    let value = appended(response.headers(), &mark.value());
    response.headers_mut().insert(CACHE_STATUS, value);
    response.extensions_mut().insert(outcome);
    response
}

fn whole(stored: &Stored, client: Client<'_>) -> Response<Body> {
    let body = if *client.method == Method::HEAD { Body::Empty } else { Body::full(stored.body.clone()) };
    let mut response = Response::new(body);
    *response.status_mut() = stored.status;
    *response.headers_mut() = stored.headers.clone();
    response
}

fn picky(stored: &Stored, client: Client<'_>) -> Response<Body> {
    if stored.status != StatusCode::OK {
        return whole(stored, client);
    }
    if not_modified(client.headers, &stored.headers) {
        return unchanged(stored);
    }
    let length = stored.body.len();
    // Range is defined for GET only (RFC 9110 §14.2).
    let part = if *client.method == Method::GET { part(client.headers, &stored.headers, length) } else { Part::Whole };
    let (status, content_range, body) = match part {
        Part::Whole => return whole(stored, client),
        Part::Bytes(range) => {
            let text = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            (StatusCode::PARTIAL_CONTENT, text, stored.body.slice(range))
        }
        Part::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, format!("bytes */{length}"), Bytes::new()),
    };
    let mut response = whole(stored, client);
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    if let Ok(value) = HeaderValue::from_str(&content_range) {
        fields.insert(CONTENT_RANGE, value);
    }
    if status == StatusCode::RANGE_NOT_SATISFIABLE {
        fields.remove(CONTENT_TYPE);
        fields.remove(CONTENT_ENCODING);
    }
    *response.body_mut() = Body::full(body);
    response
}

/// 304 with the fields that say something about the stored response but not about a body (RFC 9110 §15.4.5).
fn unchanged(stored: &Stored) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = stored.headers.clone();
    for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_RANGE, ACCEPT_RANGES] {
        response.headers_mut().remove(name);
    }
    response
}

/// A response that was not stored, fetched without the client's condition: judged here instead.
pub(crate) fn judged(response: Response<Body>, client: Client<'_>) -> Response<Body> {
    if !client.picky || response.status() != StatusCode::OK || !not_modified(client.headers, response.headers()) {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    parts.status = StatusCode::NOT_MODIFIED;
    for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_RANGE, ACCEPT_RANGES] {
        parts.headers.remove(name);
    }
    Response::from_parts(parts, Body::Empty)
}
