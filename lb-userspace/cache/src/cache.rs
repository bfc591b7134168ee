//! One route's cache: what is answered from it, and what goes on to the backend.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use http::header::{
    AUTHORIZATION, CONTENT_LOCATION, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LOCATION, RANGE,
    UPGRADE,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body as _;
use lb_message::Body;

use crate::answer::{Client, answer, hit, passed};
use crate::directives::{Directives, parse_request};
use crate::disk::Disk;
use crate::forward::Ask;
use crate::fresh::Use;
use crate::key::{CacheKey, Key, Lookup, normal};
use crate::ledger::What;
use crate::outcome::Outcome;
use crate::status::{CACHE_STATUS, Forward, Mark};
use crate::store::{Found, Store};
use crate::stored::Stored;

/// What one route has stored, and its rules. Shared by all workers.
#[derive(Debug)]
pub struct Cache {
    pub(crate) policy: lb_model::http::Cache,
    pub(crate) store: Arc<Store>,
    pub(crate) disk: Option<Arc<Disk>>,
}

/// What is to be done with a request.
enum Next {
    Answer(Response<Body>),
    /// Answered stale; fetched anew behind the client's back.
    Refresh(Response<Body>, Arc<Stored>),
    Forward(Forward, Option<Arc<Stored>>),
    Pass(Forward),
}

impl Cache {
    /// Answers from what is stored, or with `fetch`, storing what may be stored. The response's extensions have an
    /// [`Outcome`]. Runs in a `LocalSet`: fills and background refreshes are local tasks.
    ///
    /// `clock` is the wall clock; `fetch` goes to the backend and never fails: where nothing answered, the response
    /// has [`crate::FetchFailed`].
    pub async fn serve<C, F, R>(
        self: &Arc<Self>,
        request: Request<Body>,
        key: CacheKey<'_>,
        clock: C,
        fetch: F,
    ) -> Response<Body>
    where
        C: Fn() -> SystemTime + Clone + 'static,
        F: Fn(Request<Body>) -> R + Clone + 'static,
        R: Future<Output = Response<Body>> + 'static,
    {
        let lookup = Lookup::new(key);
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return self.other_method(request, &lookup, fetch).await;
        }
        if out_of_scope(&request) {
            return passed(fetch(request).await, &Mark::forward(Forward::Bypass), Outcome::Bypass);
        }
        let asked = parse_request(request.headers());
        if asked.no_store {
            return passed(fetch(request).await, &Mark::forward(Forward::Request), Outcome::Bypass);
        }
        let mut found = self.store.find(&lookup, request.headers());
        if let (Found::Nothing | Found::Others, Some(disk)) = (&found, &self.disk)
            && let Some(stored) = disk.find(&lookup.to_key(), request.headers(), &self.store).await
        {
            found = Found::Fits(stored);
        }
        match self.next(&request, &asked, found, clock()) {
            Next::Answer(response) => response,
            Next::Refresh(response, stored) => {
                self.refresh(Ask::new(lookup.to_key(), request, asked), stored, clock, fetch);
                response
            }
            Next::Forward(why, stored) => {
                self.count_miss();
                self.forward(Ask::new(lookup.to_key(), request, asked), why, stored, clock, fetch).await
            }
            Next::Pass(why) => {
                self.count_miss();
                let outcome = if why == Forward::Bypass { Outcome::Bypass } else { Outcome::Miss };
                passed(fetch(request).await, &Mark::forward(why), outcome)
            }
        }
    }

    fn count_miss(&self) {
        self.store.counters.misses.fetch_add(1, Ordering::Relaxed);
    }

    fn next(&self, request: &Request<Body>, asked: &Directives, found: Found, now: SystemTime) -> Next {
        let client = Client::of(request.method(), request.headers());
        let (why, stored) = match found {
            Found::Fits(stored) if !allowed(&stored, client.headers) => (Forward::Bypass, None),
            Found::Fits(stored) => match stored.life.decide(now, asked, self.policy.stale_while_revalidate) {
                Use::Fresh => {
                    self.store.counters.hits.fetch_add(1, Ordering::Relaxed);
                    return Next::Answer(hit(&stored, client, now));
                }
                stale @ (Use::Stale | Use::WhileRevalidate) => {
                    self.store.counters.hits.fetch_add(1, Ordering::Relaxed);
                    let mark = Mark { ttl: Some(stored.life.ttl(now)), ..Mark::default() };
                    let response = answer(&stored, client, now, &mark, Outcome::Stale);
                    return if stale == Use::Stale { Next::Answer(response) } else { Next::Refresh(response, stored) };
                }
                Use::Validate => (Forward::Stale, Some(stored)),
                Use::RequestForbids => (Forward::Request, Some(stored)),
            },
            Found::Others => (Forward::VaryMiss, None),
            Found::Nothing => (Forward::Miss, None),
        };
        if asked.only_if_cached {
            self.count_miss();
            return Next::Answer(only_if_cached());
        }
        // Only a whole GET is stored; ranges and HEAD go on as they are.
        if why == Forward::Bypass || *client.method == Method::HEAD || client.headers.contains_key(RANGE) {
            return Next::Pass(why);
        }
        Next::Forward(why, stored)
    }

    /// Nothing is stored; a change that succeeded invalidates (RFC 9111 §4.4). QUERY is safe, and is not stored either.
    async fn other_method<F, R>(&self, request: Request<Body>, lookup: &Lookup<'_>, fetch: F) -> Response<Body>
    where
        F: Fn(Request<Body>) -> R,
        R: Future<Output = Response<Body>>,
    {
        let safe =
            matches!(request.method().as_str(), "OPTIONS" | "TRACE" | "QUERY" | "PROPFIND" | "REPORT" | "SEARCH");
        let response = fetch(request).await;
        if !safe && (response.status().is_success() || response.status().is_redirection()) {
            let key = lookup.to_key();
            for name in [LOCATION, CONTENT_LOCATION] {
                let target = response.headers().get(name).and_then(|v| v.to_str().ok());
                if let Some(other) = target.and_then(|t| same_origin(&key, t)) {
                    self.invalidate(&other);
                }
            }
            self.invalidate(&key);
        }
        passed(response, &Mark::forward(Forward::Method), Outcome::Bypass)
    }

    fn invalidate(&self, key: &Key) {
        if self.store.knows(key) || self.disk.as_ref().is_some_and(|d| d.may_have(key)) {
            self.store.ledger.purge(What::Key(key.url.to_string()), false);
            self.store.remove(key);
        }
    }

    pub(crate) fn purge(&self, what: &What) -> u64 {
        let gone = self.store.purge(what);
        let key = match what {
            What::Key(url) => Key::of_url(url),
            _ => None,
        };
        let on_disk = key.zip(self.disk.as_ref()).is_some_and(|(key, disk)| disk.remove(&key));
        gone.max(u64::from(on_disk))
    }

    /// Stores a response in every tier.
    pub(crate) fn keep(&self, key: &Key, stored: &Arc<Stored>) {
        if self.store.insert(key, stored.clone()) {
            self.store.counters.stored.fetch_add(1, Ordering::Relaxed);
            if let Some(disk) = &self.disk {
                disk.put(key, stored, self.store.ledger.id());
            }
        }
    }

    /// Forgets a URL because its newest response may not be stored.
    pub(crate) fn forget(&self, key: &Key) {
        self.store.remove(key);
        if self.disk.as_ref().is_some_and(|d| d.may_have(key)) {
            self.store.ledger.purge(What::Key(key.url.to_string()), false);
        }
    }
}

impl<'a> Client<'a> {
    pub(crate) fn of(method: &'a Method, headers: &'a HeaderMap) -> Self {
        let picky = [IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE].iter().any(|name| headers.contains_key(name));
        Self { method, headers, picky }
    }
}

/// Whether a request with these fields may be answered with it: to a request with credentials only what says that it is
/// for everybody (RFC 9111 §3.5, read strictly).
pub(crate) fn allowed(stored: &Stored, request: &HeaderMap) -> bool {
    stored.for_authorized || !request.contains_key(AUTHORIZATION)
}

/// Requests that are none of a cache's business: with a body, a condition that only the origin can judge (RFC 9111
/// §4.3.2), or to become another protocol.
fn out_of_scope(request: &Request<Body>) -> bool {
    !request.body().is_end_stream()
        || [IF_MATCH, IF_UNMODIFIED_SINCE, UPGRADE].iter().any(|name| request.headers().contains_key(name))
}

/// RFC 9111 §5.2.1.7
fn only_if_cached() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    response.headers_mut().insert(CACHE_STATUS, http::HeaderValue::from_static("lb; detail=only-if-cached"));
    response.extensions_mut().insert(Outcome::Miss);
    response
}

/// A reference in a response, if it stays at the same origin (RFC 9111 §4.4).
fn same_origin(key: &Key, reference: &str) -> Option<Key> {
    let url = if reference.starts_with('/') && !reference.starts_with("//") {
        format!("{}{reference}", key.origin())
    } else {
        reference.to_owned()
    };
    Key::of_url(&normal(&url)?).filter(|other| other.origin() == key.origin())
}
