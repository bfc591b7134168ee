//! The way to a backend and back: through the cache if the route has one, with what the answer loses and gains.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use lb_cache::{Cache, CacheKey, FetchFailed, Outcome};
use lb_message::Body;
use lb_model::http::Refusal;
use lb_upstream::{Answer, InFlight, Want};

use crate::clock;
use crate::connection::Connection;
use crate::interim;
use crate::record::Record;
use crate::request::{Answered, End};
use crate::snapshot::{Pooled, Road};
use crate::stage::head::Judged;
use crate::stage::limit::Meter;
use crate::stage::respond::{self, Back, Side};
use crate::stage::upgrade::{self, Asked};
use crate::stage::{Fault, hop, mirror, refuse};
use crate::tunnel::Tunnel;

/// What the way needs, owned, so that a cache may go it again later.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    pub connection: Rc<Connection>,
    pub road: Arc<Road>,
    pub pool: Pooled,
    pub client: IpAddr,
    pub judged: Judged,
    pub meter: Option<Rc<Meter>>,
}

/// What is known of the way afterwards.
#[derive(Debug, Default)]
struct Trip {
    backend: Option<SocketAddr>,
    took: Option<Duration>,
    retries: u32,
    set_cookie: Option<HeaderValue>,
    failed: Option<End>,
}

impl Trip {
    fn tell(&mut self, record: &mut Record) {
        record.backend = self.backend;
        record.backend_took = self.took;
        record.retries = self.retries;
    }
}

impl Forward {
    pub(crate) async fn run(
        self,
        parts: &mut Parts,
        body: Body,
        record: &mut Record,
        normal: &str,
        asked: Option<Asked>,
    ) -> Result<Answered, End> {
        let original = self.road.route.compress.as_ref().map(|_| (parts.method.clone(), parts.headers.clone()));
        let body = self.mirrored(parts, body);
        let request = Request::from_parts(take(parts), body);
        let mut trip = Trip::default();
        let cache = if asked.is_none() { self.road.cache.get().cloned() } else { None };
        let outcome = match cache {
            Some(cache) => Ok(self.cached(&cache, request, normal, record, &mut trip).await?),
            None => match self.go(request, normal, &mut trip).await {
                Ok(answer) => self.arrived(answer, normal, asked.as_ref()),
                Err(end) => Err(end),
            },
        };
        trip.tell(record);
        let (mut response, tunnel) = outcome?;
        if let Some(cookie) = trip.set_cookie.take() {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        if let (Some(compress), Some((method, headers)), None) = (&self.road.route.compress, &original, &tunnel) {
            response = lb_content::encode(compress, headers, method, response);
        }
        Ok((response, tunnel))
    }

    /// One request to the pool.
    async fn go(&self, mut request: Request<Body>, normal: &str, trip: &mut Trip) -> Result<Answer, End> {
        interim::listen(&mut request);
        let route = &self.road.route;
        let want = Want {
            client: self.client,
            path: normal,
            timeouts: &route.timeouts,
            retry: &route.retry,
            budget: &self.road.budget,
            secure: self.connection.peer.secure,
        };
        match self.connection.worker.client.send(&self.pool.handle, request, &want).await {
            Ok(mut answer) => {
                trip.backend = Some(answer.backend);
                trip.took = Some(answer.elapsed_to_head);
                trip.retries = answer.retries;
                trip.set_cookie = answer.set_cookie.take();
                Ok(answer)
            }
            Err(failure) => {
                trip.backend = failure.backend;
                trip.retries = failure.retries;
                // What went wrong with the client's own body is the client's to hear.
                Err(match self.meter.as_ref().and_then(|m| m.fault()) {
                    Some(fault) => End::Fault(Fault::last(fault.refusal(), "the request's body did not come whole")),
                    None => End::Failure {
                        refusal: failure.refusal,
                        detail: failure.detail,
                        retry_after: failure.retry_after,
                    },
                })
            }
        }
    }

    fn arrived(&self, answer: Answer, normal: &str, asked: Option<&Asked>) -> Result<Answered, End> {
        let mut response = answer.response;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let accepted = upgrade::accepted(asked, response.headers())?;
            let Some(asked) = asked else {
                return Err(Fault::new(Refusal::BadResponse, "an upgrade that nobody asked for").into());
            };
            let in_flight = response.extensions_mut().remove::<InFlight>();
            let tunnel = Tunnel {
                backend: hyper::upgrade::on(&mut response),
                in_flight,
                idle: self.road.route.timeouts.idle,
                websocket: asked.websocket,
                record: None,
            };
            return Ok((accepted, Some(tunnel)));
        }
        Ok((self.presentable(response, normal), None))
    }

    fn presentable(&self, mut response: Response<Body>, normal: &str) -> Response<Body> {
        hop::response(response.headers_mut());
        let side = Side {
            secure: self.connection.peer.secure,
            authority: self.judged.authority.as_ref(),
            back: Back::of(&self.road.route, normal),
        };
        respond::clean(response.headers_mut(), &self.pool.backends, &side);
        if !self.road.pages.is_empty() {
            refuse::replace(&mut response, &self.road.pages);
        }
        response
    }

    async fn cached(
        &self,
        cache: &Arc<Cache>,
        request: Request<Body>,
        normal: &str,
        record: &mut Record,
        trip: &mut Trip,
    ) -> Result<Answered, End> {
        let told = Rc::new(RefCell::new(Trip::default()));
        let scheme = if self.connection.peer.secure { "https" } else { "http" };
        let uri = record.head.as_ref().map(|l| l.uri.clone()).unwrap_or_default();
        let port = self.judged.authority.as_ref().and_then(|a| port_of(a, self.connection.peer.secure));
        let authority = match port {
            Some(port) => format!("{}:{port}", self.judged.host()),
            None => self.judged.host().to_owned(),
        };
        let key = CacheKey { scheme, authority: &authority, path: normal, query: uri.query() };
        let (way, path, shared) = (Rc::new(self.clone()), Rc::<str>::from(normal), Rc::clone(&told));
        let fetch = move |request: Request<Body>| {
            let (way, path, shared) = (Rc::clone(&way), Rc::clone(&path), Rc::clone(&shared));
            async move {
                let mut trip = Trip::default();
                let answer = way.go(request, &path, &mut trip).await;
                let answered = answer.and_then(|a| way.arrived(a, &path, None));
                let response = match answered {
                    Ok((response, _)) => response,
                    Err(end) => {
                        let failed = FetchFailed(end.refusal());
                        trip.failed = Some(end);
                        let mut response = Response::new(Body::Empty);
                        *response.status_mut() = failed.0.status();
                        response.extensions_mut().insert(failed);
                        response
                    }
                };
                *shared.borrow_mut() = trip;
                response
            }
        };
        let response = cache.serve(request, key, clock::wall, fetch).await;
        *trip = told.take();
        record.cache = response.extensions().get::<Outcome>().map(|o| o.as_str());
        if response.extensions().get::<FetchFailed>().is_some()
            && let Some(end) = trip.failed.take()
        {
            trip.tell(record);
            return Err(end);
        }
        Ok((response, None))
    }

    /// A copy for the mirror's pool, if this request is one of those.
    fn mirrored(&self, parts: &Parts, body: Body) -> Body {
        let Some((share, pool)) = &self.road.mirror else { return body };
        if !share.next() {
            return body;
        }
        let way = Self { pool: pool.clone(), meter: None, ..self.clone() };
        mirror::tee(parts, body, move |copy| {
            let Some(copy) = copy else { return };
            tokio::task::spawn_local(async move {
                let path = copy.uri().path().to_owned();
                if let Ok(answer) = way.go(copy, &path, &mut Trip::default()).await {
                    use http_body_util::BodyExt as _;
                    let mut body = answer.response.into_body();
                    while let Some(Ok(_)) = body.frame().await {}
                }
            });
        })
    }
}

impl End {
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Self::Fault(fault) => fault.refusal,
            Self::Failure { refusal, .. } => *refusal,
        }
    }
}

/// The parts, leaving what the log and later stages look at: nothing.
fn take(parts: &mut Parts) -> Parts {
    let (empty, ()) = Request::new(()).into_parts();
    std::mem::replace(parts, empty)
}

/// A port that is not the scheme's own.
fn port_of(authority: &HeaderValue, secure: bool) -> Option<u16> {
    let port = lb_routing::host::canonical(authority.to_str().ok()?).ok()?.port?;
    let own = if secure { 443 } else { 80 };
    (port != own).then_some(port)
}
