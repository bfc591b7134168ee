//! What may be stored (RFC 9111 §3), and what of it: pure functions of a request and its response.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    AGE, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, EXPIRES,
    LAST_MODIFIED, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::directives::{Directives, MAX_SECONDS, parse};
use crate::fresh::{Life, Window};
use crate::stored::{Stored, selecting};

/// When a request went out and its response's head came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trip {
    pub(crate) sent: SystemTime,
    pub(crate) received: SystemTime,
    /// The ledger's number when it was sent.
    pub(crate) born: u64,
}

/// Final statuses whose meaning for caches we know (§3, RFC 9110 §15). Not 206: ranges are not stored. Not 5xx but 501: an
/// error that hides a good response would be worse than asking again.
pub(crate) fn understood(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300..=303 | 307 | 308 | 404 | 405 | 410 | 414 | 421 | 451 | 501)
}

/// The head as it is stored, if it may be: `headers` are the response's, complete. The body is still to come.
pub(crate) fn storable(
    request: &HeaderMap,
    asked: &Directives,
    status: StatusCode,
    headers: &HeaderMap,
    trip: Trip,
    policy: &lb_model::http::Cache,
) -> Option<Stored> {
    let said = parse(headers);
    let ignored_no_store = said.must_understand && understood(status);
    if asked.no_store || !understood(status) || said.private.is_all() || (said.no_store && !ignored_no_store) {
        return None;
    }
    let for_authorized = said.must_revalidate || said.public || said.s_maxage.is_some();
    if request.contains_key(AUTHORIZATION) && !for_authorized {
        return None;
    }
    let selects = selection(request, headers)?;
    let life = life(&said, headers, trip)?;
    let kept = kept(headers, &said, trip.received);
    if kept.contains_key(SET_COOKIE) || (life.no_cache && !validatable(&kept)) {
        return None;
    }
    let usable_stale =
        life.while_revalidate.resolve(policy.stale_while_revalidate).max(life.if_error.resolve(policy.stale_if_error));
    if life.lifetime.is_zero() && usable_stale.is_zero() && !validatable(&kept) {
        return None;
    }
    let tags = list(&kept, &policy.tags);
    let mut stored =
        Stored { status, headers: kept, body: Bytes::new(), life, selects, tags, for_authorized, born: trip.born };
    stored.prepare();
    Some(stored)
}

pub(crate) fn validatable(headers: &HeaderMap) -> bool {
    headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED)
}

/// What the request had where Vary looks; `None` for `*` and for what is no list of fields.
fn selection(request: &HeaderMap, response: &HeaderMap) -> Option<Vec<(HeaderName, Option<Bytes>)>> {
    let mut found: Vec<(HeaderName, Option<Bytes>)> = Vec::new();
    for value in response.get_all(VARY) {
        for name in value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|n| !n.is_empty()) {
            let name = HeaderName::from_bytes(name).ok().filter(|n| n.as_str() != "*")?;
            if !found.iter().any(|(n, _)| *n == name) {
                let had = selecting(request, &name).map(|v| Bytes::copy_from_slice(&v));
                found.push((name, had));
            }
        }
    }
    found.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    Some(found)
}

/// §4.2.1, §4.2.3. `None`: nothing says how long it is fresh, and it is not guessed.
fn life(said: &Directives, headers: &HeaderMap, trip: Trip) -> Option<Life> {
    let date = instant(headers.get(DATE)).unwrap_or(trip.received);
    let lifetime = match (said.s_maxage, said.max_age, headers.get(EXPIRES)) {
        (Some(seconds), ..) | (None, Some(seconds), _) => Duration::from_secs(seconds),
        // An Expires that is no date, as "0", is the past (§5.3).
        (None, None, Some(at)) => instant(Some(at)).and_then(|at| at.duration_since(date).ok()).unwrap_or_default(),
        (None, None, None) if said.no_cache.is_all() => Duration::ZERO,
        (None, None, None) => return None,
    };
    let age =
        headers.get(AGE).and_then(|v| v.to_str().ok()).and_then(|v| v.split(',').next()?.trim().parse::<u64>().ok());
    let apparent = trip.received.duration_since(date).unwrap_or_default();
    let delay = trip.received.duration_since(trip.sent).unwrap_or_default();
    let corrected = Duration::from_secs(age.unwrap_or(0).min(MAX_SECONDS)) + delay;
    let forbids = said.must_revalidate || said.proxy_revalidate || said.no_cache.is_all();
    // §4.2.4: s-maxage, too, forbids stale use; but a response that has it and says how long stale is well, is obeyed.
    let window = |seconds: Option<u64>| match seconds {
        _ if forbids => Window::Never,
        Some(seconds) => Window::Said(Duration::from_secs(seconds)),
        None if said.s_maxage.is_some() => Window::Never,
        None => Window::Route,
    };
    Some(Life {
        received: trip.received,
        initial_age: apparent.max(corrected),
        lifetime,
        no_cache: said.no_cache.is_all(),
        strict: forbids || said.s_maxage.is_some(),
        while_revalidate: window(said.stale_while_revalidate),
        if_error: window(said.stale_if_error),
    })
}

fn instant(value: Option<&HeaderValue>) -> Option<SystemTime> {
    httpdate::parse_http_date(value?.to_str().ok()?).ok()
}

/// Fields that belong to a connection or to a proxy, not to the response (§3.1).
fn connection_fields(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut names = vec![
        CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        HeaderName::from_static("proxy-authentication-info"),
    ];
    let named = headers.get_all(CONNECTION).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    names.extend(named.filter_map(|n| HeaderName::from_bytes(n.trim().as_bytes()).ok()));
    names
}

/// The fields that are stored: without the connection's, and without those that `no-cache` or `private` names.
fn kept(headers: &HeaderMap, said: &Directives, received: SystemTime) -> HeaderMap {
    let mut kept = headers.clone();
    for name in connection_fields(headers).iter().chain(said.no_cache.fields()).chain(said.private.fields()) {
        kept.remove(name);
    }
    if !kept.contains_key(DATE)
        && let Ok(now) = HeaderValue::from_str(&httpdate::fmt_http_date(received))
    {
        // RFC 9110 §6.6.1: a recipient with a clock dates what it stores.
        kept.insert(DATE, now);
    }
    kept
}

/// Words of a field, separated by commas or white space.
fn list(headers: &HeaderMap, name: &HeaderName) -> Vec<Bytes> {
    let words =
        headers.get_all(name).iter().flat_map(|v| v.as_bytes().split(|b| *b == b',' || b.is_ascii_whitespace()));
    words.filter(|w| !w.is_empty()).map(Bytes::copy_from_slice).collect()
}

/// The stored response's fields with what a 304 brought (§3.2, §4.3.4); the status stays.
pub(crate) fn freshened(stored: &Stored, update: &HeaderMap) -> HeaderMap {
    let mut headers = stored.headers.clone();
    headers.remove(AGE);
    headers.remove(crate::status::CACHE_STATUS);
    let own = [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE];
    let skipped = connection_fields(update);
    for name in update.keys().filter(|n| !own.contains(n) && !skipped.contains(n)) {
        headers.remove(name);
        for value in update.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    headers
}

/// Does a 304 confirm this stored response (§4.3.4)? Weakly compared: both were made for one selected representation.
pub(crate) fn confirms(stored: &Stored, update: &HeaderMap) -> bool {
    match (update.get(ETAG), stored.headers.get(ETAG)) {
        (Some(new), Some(old)) => crate::conditional::weakly_equal(new.as_bytes(), old.as_bytes()),
        (Some(_), None) => false,
        (None, _) => match (update.get(LAST_MODIFIED), stored.headers.get(LAST_MODIFIED)) {
            (Some(new), Some(old)) => new == old,
            _ => true,
        },
    }
}
