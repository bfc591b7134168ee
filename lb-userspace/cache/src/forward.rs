//! The way to the backend: one request for all who ask the same, validation, and the body kept as it comes.

use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderValue, Method, Request, Response, StatusCode, request};
use http_body::Body as _;
use lb_message::Body;
use lb_model::http::Refusal;
use tokio::sync::oneshot;

use crate::answer::{Client, answer, filling, judged, passed};
use crate::cache::{Cache, allowed};
use crate::directives::Directives;
use crate::fill::Fill;
use crate::flight::{Flight, Flights, Join, Landed, Landing};
use crate::key::Key;
use crate::outcome::{FetchFailed, Outcome};
use crate::pump::Pump;
use crate::rules::{Trip, confirms, freshened, storable, validatable};
use crate::status::{Forward, Mark};
use crate::store::with_body;
use crate::stored::Stored;

/// A request that goes on, without its body: it had none.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) key: Key,
    parts: request::Parts,
    asked: Directives,
}

impl Ask {
    pub(crate) fn new(key: Key, request: Request<Body>, asked: Directives) -> Self {
        Self { key, parts: request.into_parts().0, asked }
    }

    fn client(&self) -> Client<'_> {
        Client::of(&self.parts.method, &self.parts.headers)
    }

    /// What the backend is asked: with the stored response's validators instead of the client's (RFC 9111 §4.3.1), whose
    /// conditions are judged here. `as_is`: with the client's, because the response will not be stored.
    fn request(&self, validate: Option<&Stored>, as_is: bool) -> Request<Body> {
        let mut parts = self.parts.clone();
        parts.method = Method::GET;
        if !as_is {
            for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, http::header::RANGE] {
                parts.headers.remove(name);
            }
        }
        if let Some(stored) = validate {
            for (from, to) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
                if let Some(value) = stored.headers.get(from) {
                    parts.headers.insert(to, value.clone());
                }
            }
        }
        Request::from_parts(parts, Body::Empty)
    }
}

/// How a request goes forward.
#[derive(Debug)]
struct Lead {
    why: Forward,
    stored: Option<Arc<Stored>>,
    landing: Option<Landing>,
    /// In the background: the body is fetched to its end though nobody reads it.
    background: bool,
}

/// Ends the leader's request if the client goes and nobody else waits for it.
struct Leash {
    task: tokio::task::AbortHandle,
    flights: Arc<Flights>,
    flight: Arc<Flight>,
    key: Key,
}

impl Drop for Leash {
    fn drop(&mut self) {
        if !self.task.is_finished() && self.flights.abandon(&self.key, &self.flight) {
            self.task.abort();
        }
    }
}

impl Cache {
    /// Asks the backend, or waits with others for what it says.
    pub(crate) async fn forward<C, F, R>(
        self: &Arc<Self>,
        ask: Ask,
        why: Forward,
        stored: Option<Arc<Stored>>,
        clock: C,
        fetch: F,
    ) -> Response<Body>
    where
        C: Fn() -> SystemTime + Clone + 'static,
        F: Fn(Request<Body>) -> R + Clone + 'static,
        R: Future<Output = Response<Body>> + 'static,
    {
        let mut lead = Lead { why, stored, landing: None, background: false };
        // Who asks for an answer from the origin itself gets one of their own.
        let join = if why == Forward::Request { Join::Alone } else { self.store.flights.join(&ask.key) };
        match join {
            Join::Alone => self.clone().lead(ask, lead, clock, fetch).await,
            Join::Lead(landing) => {
                if let Some(response) = self.just_stored(&ask, &lead, &landing, clock()) {
                    return response;
                }
                let (flight, key) = (landing.flight.clone(), ask.key.clone());
                lead.landing = Some(landing);
                let (tell, told) = oneshot::channel();
                let cache = self.clone();
                let task = tokio::task::spawn_local(async move {
                    let _ = tell.send(cache.lead(ask, lead, clock, fetch).await);
                });
                let leash = Leash { task: task.abort_handle(), flights: self.store.flights.clone(), flight, key };
                let response = told.await;
                drop(leash);
                response.unwrap_or_else(|_| lost())
            }
            Join::Follow(mut follower) => {
                let landed = follower.wait().await;
                if let Some(response) = follow(&ask, why, landed, clock()) {
                    return response;
                }
                self.clone().lead(ask, lead, clock, fetch).await
            }
        }
    }

    /// Another worker may have stored it between our look and our take-off.
    fn just_stored(&self, ask: &Ask, lead: &Lead, landing: &Landing, now: SystemTime) -> Option<Response<Body>> {
        let found = self.store.find_key(&ask.key, &ask.parts.headers)?;
        if lead.stored.as_ref().is_some_and(|old| Arc::ptr_eq(old, &found)) || !allowed(&found, &ask.parts.headers) {
            return None;
        }
        let mark = Mark { collapsed: true, ..Mark::forward(lead.why) };
        if found.life.decide(now, &ask.asked, self.policy.stale_while_revalidate) != crate::fresh::Use::Fresh {
            return None;
        }
        landing.tell(Landed::Stored(found.clone(), mark, Outcome::Miss));
        Some(answer(&found, ask.client(), now, &mark, Outcome::Miss))
    }

    /// Fetches anew what was just served stale; once at a time.
    pub(crate) fn refresh<C, F, R>(self: &Arc<Self>, ask: Ask, stored: Arc<Stored>, clock: C, fetch: F)
    where
        C: Fn() -> SystemTime + Clone + 'static,
        F: Fn(Request<Body>) -> R + Clone + 'static,
        R: Future<Output = Response<Body>> + 'static,
    {
        let landing = match self.store.flights.join(&ask.key) {
            Join::Follow(_) => return,
            Join::Lead(landing) => Some(landing),
            Join::Alone => None,
        };
        let lead = Lead { why: Forward::Stale, stored: Some(stored), landing, background: true };
        tokio::task::spawn_local(self.clone().lead(ask, lead, clock, fetch));
    }

    async fn lead<C, F, R>(self: Arc<Self>, ask: Ask, lead: Lead, clock: C, fetch: F) -> Response<Body>
    where
        C: Fn() -> SystemTime + Clone + 'static,
        F: Fn(Request<Body>) -> R + Clone + 'static,
        R: Future<Output = Response<Body>> + 'static,
    {
        let mut validate = lead.stored.as_deref().filter(|s| validatable(&s.headers));
        let as_is = lead.stored.is_none() && lead.landing.is_none() && self.store.flights.is_alone(&ask.key);
        loop {
            let born = self.store.ledger.now();
            let sent = clock();
            let response = fetch(ask.request(validate, as_is)).await;
            let trip = Trip { sent, received: clock(), born };
            if let Some(stored) = lead.stored.as_ref().filter(|_| failed(&response))
                && stored.life.if_error(trip.received, &ask.asked, self.policy.stale_if_error)
            {
                return instead(&ask, stored, &lead, &response, trip.received);
            }
            match (validate, &lead.stored) {
                (Some(old), Some(stored)) if response.status() == StatusCode::NOT_MODIFIED => {
                    if confirms(old, response.headers()) {
                        return self.confirmed(&ask, stored, &lead, response, trip);
                    }
                    // Not about what is stored (§4.3.4): asked again, without a condition.
                    validate = None;
                }
                _ => return self.fetched(ask, lead, response, trip, as_is),
            }
        }
    }

    /// 304: what is stored is good for another while.
    fn confirmed(
        &self,
        ask: &Ask,
        old: &Arc<Stored>,
        lead: &Lead,
        response: Response<Body>,
        trip: Trip,
    ) -> Response<Body> {
        let (mut parts, _) = response.into_parts();
        let cookies: Vec<HeaderValue> = parts.headers.get_all(SET_COOKIE).iter().cloned().collect();
        parts.headers.remove(SET_COOKIE);
        if !parts.headers.contains_key(DATE)
            && let Ok(now) = HeaderValue::from_str(&httpdate::fmt_http_date(trip.received))
        {
            parts.headers.insert(DATE, now);
        }
        let headers = freshened(old, &parts.headers);
        let mark = Mark { forward_status: Some(304), ..Mark::forward(lead.why) };
        let now = trip.received;
        let new = storable(&ask.parts.headers, &ask.asked, old.status, &headers, trip, &self.policy);
        let used = match new {
            Some(head) => {
                let stored = with_body(&head, old.body.clone());
                self.keep(&ask.key, &stored);
                if let Some(landing) = &lead.landing {
                    let mark = Mark { collapsed: true, ..mark };
                    landing.tell(Landed::Stored(stored.clone(), mark, Outcome::Revalidated));
                }
                stored
            }
            None => {
                self.forget(&ask.key);
                old.clone()
            }
        };
        let mut answered = answer(&used, ask.client(), now, &mark, Outcome::Revalidated);
        for cookie in cookies {
            answered.headers_mut().append(SET_COOKIE, cookie);
        }
        with_extensions(answered, parts.extensions, Outcome::Revalidated)
    }

    fn fetched(
        self: Arc<Self>,
        ask: Ask,
        lead: Lead,
        response: Response<Body>,
        trip: Trip,
        as_is: bool,
    ) -> Response<Body> {
        let failed = failed(&response);
        let length = response.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        let length = length.or_else(|| response.body().size_hint().exact());
        let fits = length.is_none_or(|length| length <= self.policy.max_object);
        let head = (!failed && fits)
            .then(|| {
                let (status, fields) = (response.status(), response.headers());
                storable(&ask.parts.headers, &ask.asked, status, fields, trip, &self.policy)
            })
            .flatten();
        let Some(head) = head else {
            if !failed {
                self.store.flights.remember(&ask.key, true);
                if lead.stored.is_some() {
                    self.forget(&ask.key);
                }
            }
            if let Some(landing) = &lead.landing {
                landing.tell(Landed::Alone);
            }
            let response = if as_is { response } else { judged(response, ask.client()) };
            return passed(response, &Mark::forward(lead.why), Outcome::Miss);
        };
        self.store.flights.remember(&ask.key, false);
        let mark = Mark { stored: true, ..Mark::forward(lead.why) };
        let (parts, body) = response.into_parts();
        let here = match body {
            Body::Empty => Ok(Bytes::new()),
            Body::Full(bytes) => Ok(bytes.unwrap_or_default()),
            body if body.is_end_stream() => Ok(Bytes::new()),
            body => Err(body),
        };
        let answered = match here {
            Ok(bytes) => {
                let stored = with_body(&head, bytes);
                self.keep(&ask.key, &stored);
                if let Some(landing) = &lead.landing {
                    let mark = Mark { stored: false, collapsed: true, ..mark };
                    landing.tell(Landed::Stored(stored.clone(), mark, Outcome::Miss));
                }
                answer(&stored, ask.client(), trip.received, &mark, Outcome::Miss)
            }
            Err(body) => {
                let fill = Fill::new(Arc::new(head), length);
                let reader = fill.reader();
                if let Some(landing) = &lead.landing {
                    landing.tell(Landed::Fill(fill.clone()));
                }
                let Some(reader) = reader else { return lost() };
                let answered = filling(&fill.head, reader, ask.client(), trip.received, &mark);
                let pump = Pump {
                    cache: self,
                    key: ask.key,
                    fill,
                    landing: lead.landing,
                    background: lead.background,
                    stored: false,
                };
                tokio::task::spawn_local(pump.run(body));
                answered
            }
        };
        with_extensions(answered, parts.extensions, Outcome::Miss)
    }
}

/// What `fetch` noted about the exchange stays with the response of the one who asked.
fn with_extensions(mut response: Response<Body>, noted: http::Extensions, outcome: Outcome) -> Response<Body> {
    *response.extensions_mut() = noted;
    response.extensions_mut().insert(outcome);
    response
}

/// RFC 5861 §4 names these statuses.
fn failed(response: &Response<Body>) -> bool {
    matches!(response.status().as_u16(), 500 | 502 | 503 | 504) || response.extensions().get::<FetchFailed>().is_some()
}

/// The stored response, because the backend failed.
fn instead(ask: &Ask, stored: &Arc<Stored>, lead: &Lead, response: &Response<Body>, now: SystemTime) -> Response<Body> {
    let answered = response.extensions().get::<FetchFailed>().is_none();
    let forward_status = answered.then(|| response.status().as_u16());
    let mark = Mark { forward_status, detail: Some("stale-if-error"), ..Mark::forward(lead.why) };
    if let Some(landing) = &lead.landing {
        landing.tell(Landed::Stored(stored.clone(), Mark { collapsed: true, ..mark }, Outcome::Stale));
    }
    answer(stored, ask.client(), now, &mark, Outcome::Stale)
}

fn follow(ask: &Ask, why: Forward, landed: Landed, now: SystemTime) -> Option<Response<Body>> {
    let request = &ask.parts.headers;
    match landed {
        Landed::Fill(fill) if fill.head.fits(request) && allowed(&fill.head, request) => {
            let mark = Mark { collapsed: true, ..Mark::forward(why) };
            Some(filling(&fill.head, fill.reader()?, ask.client(), now, &mark))
        }
        Landed::Stored(stored, mark, outcome) if stored.fits(request) && allowed(&stored, request) => {
            Some(answer(&stored, ask.client(), now, &mark, outcome))
        }
        _ => None,
    }
}

/// The task that asked is gone: only when this worker ends.
fn lost() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.extensions_mut().insert(FetchFailed(Refusal::ShuttingDown));
    passed(response, &Mark::forward(Forward::Miss), Outcome::Miss)
}
