//! A request's way through its tries: a place, a connection, an exchange, and what follows from how it ended.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use lb_message::Body;
use lb_model::http::{Outlier, Refusal};

use crate::answer::{Answer, Failure};
use crate::client::{Client, Want};
use crate::connect::{self, NoConnection};
use crate::deadline::Deadline;
use crate::download::Exchange;
use crate::head;
use crate::lane::Lane;
use crate::link::Link;
use crate::plan::PoolPlan;
use crate::pool::{Chooser, Chosen, PoolHandle, Refused};
use crate::respond::{Got, deadline_of};
use crate::upload::{Outgoing, Upload};
use crate::upstreams::Ask;
use crate::{clock, sticky};

/// Seconds after which a client may find a backend again.
const BACK_SOON: u32 = 5;
/// Seconds after which there may be room.
const ROOM_SOON: u32 = 1;
/// Nanoseconds of rest after which a connection may have been closed without our having seen it.
const LONG_REST: u64 = 1_000_000;

pub(crate) struct Run<'a> {
    pub(crate) client: &'a Rc<Client>,
    pub(crate) pool: &'a Arc<PoolHandle>,
    pub(crate) want: &'a Want<'a>,
    pub(crate) plan: Arc<PoolPlan>,
    pub(crate) link: Arc<Link>,
    pub(crate) head: Option<Parts>,
    pub(crate) body: Option<Body>,
    pub(crate) upload: Option<Rc<Upload>>,
    /// The method may be sent twice (RFC 9110 §9.2.2).
    pub(crate) idempotent: bool,
    pub(crate) upgrade: Option<HeaderValue>,
    pub(crate) start: Instant,
    pub(crate) hash: u32,
    pub(crate) token: Option<String>,
    pub(crate) tried: Vec<u32>,
    pub(crate) retries: u32,
    /// When this try began.
    pub(crate) begun: Instant,
    /// A used connection failed already: the next failure is no accident.
    pub(crate) stale_before: bool,
    /// The next connection must be a new one.
    pub(crate) fresh: bool,
    pub(crate) last: Option<SocketAddr>,
}

/// How a try ended without an answer.
pub(crate) enum Broken {
    /// Nothing was sent.
    Never(NoConnection),
    /// The connection was stale, and the request came back whole.
    Unsent(Box<Parts>),
    /// The backend says that it did nothing of it.
    Unprocessed,
    /// It ended before a byte of an answer.
    Closed { stale: bool },
    /// Nothing more can be done.
    Final(Refusal, &'static str),
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        client: &'a Rc<Client>,
        pool: &'a Arc<PoolHandle>,
        request: Request<Body>,
        want: &'a Want<'a>,
    ) -> Self {
        let start = clock::now();
        let (mut head, body) = request.into_parts();
        let (plan, link, hash) = {
            let current = pool.current(start, clock::ticks(start));
            let ask = Ask { client: want.client, headers: &head.headers, path: want.path };
            let hash = if current.deciding().is_consistent() { pool.hash(&current.plan.http, &ask) } else { 0 };
            (Arc::clone(&current.plan), Arc::clone(&current.link), hash)
        };
        let token = plan.http.sticky.as_ref().and_then(|s| {
            let token = sticky::find(&head.headers, &s.cookie).map(str::to_owned);
            sticky::strip(&mut head.headers, &s.cookie);
            token
        });
        Self {
            client,
            pool,
            want,
            link,
            idempotent: head::is_idempotent(&head.method),
            upgrade: head.headers.get(http::header::UPGRADE).cloned(),
            head: Some(head),
            body: Some(body),
            upload: None,
            plan,
            start,
            begun: start,
            stale_before: false,
            hash,
            token,
            tried: Vec::new(),
            retries: 0,
            fresh: false,
            last: None,
        }
    }

    pub(crate) fn rule(&self) -> Option<&Outlier> {
        self.plan.http.outlier.as_ref()
    }

    pub(crate) fn failure(&self, refusal: Refusal, detail: &'static str) -> Failure {
        let retry_after = match refusal {
            Refusal::NoBackend => Some(BACK_SOON),
            Refusal::QueueFull => Some(ROOM_SOON),
            _ => None,
        };
        Failure { refusal, detail, backend: self.last, retries: self.retries, retry_after }
    }

    pub(crate) async fn answer(mut self) -> Result<Answer, Failure> {
        self.prepare()?;
        if self.want.retry.attempts > 0 {
            self.want.budget.request(self.start);
        }
        let end = clock::ticks(self.start).saturating_add(clock::nanos(self.want.timeouts.request));
        let deadline = self.client.deadlines.set(end);
        loop {
            let chosen = self.place(&deadline).await?;
            self.last = Some(chosen.ticket.backend.address);
            let lane = self.client.lane(&chosen.ticket.backend);
            let broken = match self.exchange(&lane, &chosen, &deadline).await {
                Ok(got) => {
                    let status = got.response.status().as_u16();
                    if self.again_for(status) {
                        self.give_up(got, chosen, lane, deadline_of(self.client));
                        self.begun = clock::now();
                        continue;
                    }
                    return self.finish(got, chosen, lane, deadline);
                }
                Err(broken) => broken,
            };
            let id = chosen.ticket.backend.id;
            drop(chosen);
            self.after(broken, id)?;
            self.begun = clock::now();
        }
    }

    /// The head as the backends' protocol wants it.
    fn prepare(&mut self) -> Result<(), Failure> {
        let body = self.body.take().unwrap_or_default();
        self.upload = Upload::new(body, self.idempotent || self.link.is_h2());
        let empty = self.upload.is_none();
        let Some(head) = &mut self.head else { return Ok(()) };
        if !self.link.is_h2() {
            head::for_h1(head, empty);
            return Ok(());
        }
        if self.upgrade.is_some() {
            return Err(self.failure(Refusal::UpgradeRefused, "the service is spoken to over HTTP/2, without upgrades"));
        }
        match head::for_h2(head, self.link.tls.is_some()) {
            Some(()) => Ok(()),
            None => Err(self.failure(Refusal::BadRequest, "the host is not valid")),
        }
    }

    /// A place at a backend; waits for one if all are full and the pool has a queue.
    async fn place(&mut self, deadline: &Deadline) -> Result<Chosen, Failure> {
        // Who comes while others wait goes to the end.
        let queued = self.plan.http.max_requests > 0 && self.pool.waiting.is_busy();
        if !queued {
            let mut chosen = self.choose();
            if matches!(chosen, Err(Refused::AllTried)) {
                // Only those that did answer, or did take the request, are asked twice.
                self.tried.clear();
                chosen = self.choose();
            }
            match chosen {
                Ok(chosen) => return Ok(chosen),
                Err(Refused::Full) => {}
                Err(_) => return Err(self.failure(Refusal::NoBackend, "no backend is available")),
            }
        }
        let full = self.failure(Refusal::QueueFull, "every backend has as many requests as it may have");
        let queue = self.plan.http.queue;
        let Some(place) = self.pool.waiting.join(queue.size) else { return Err(full) };
        let chooser = self.chooser();
        let (pool, tried) = (self.pool, &self.tried);
        let wait = place.wait(|| pool.choose(&chooser, clock::now(), tried).ok());
        match deadline.watch(tokio::time::timeout(queue.timeout, wait)).await {
            Some(Ok(chosen)) => {
                self.begun = clock::now();
                Ok(chosen)
            }
            _ => Err(full),
        }
    }

    fn chooser(&self) -> Chooser<'_> {
        Chooser { hash: self.hash, random: self.client.random(), token: self.token.as_deref() }
    }

    fn choose(&self) -> Result<Chosen, Refused> {
        self.pool.choose(&self.chooser(), self.begun, &self.tried)
    }

    /// One try.
    async fn exchange(&mut self, lane: &Rc<Lane>, chosen: &Chosen, deadline: &Deadline) -> Result<Got, Broken> {
        let backend = &chosen.ticket.backend;
        let within = self.want.timeouts.connect;
        let begun = self.begun;
        let ready = async {
            if self.link.is_h2() {
                return lane.share(&self.link, within).await.map(Exchange::H2);
            }
            if let Some(h1) = self.reusable(lane).await {
                return Ok(Exchange::H1(h1));
            }
            connect::h1(lane, &self.link, within).await.map(Exchange::H1)
        };
        let mut exchange = match deadline.watch(ready).await {
            Some(Ok(exchange)) => exchange,
            other => {
                let now = clock::now();
                backend.judge(self.rule(), true, now - begun, now);
                // A backend that cannot be reached is slow, as far as choosing goes.
                backend.observe(within, now);
                return Err(match other {
                    Some(Err(error)) => Broken::Never(error),
                    _ => Broken::Final(Refusal::BackendTimeout, "the service did not answer in time"),
                });
            }
        };
        self.fresh = false;
        backend.requests.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let sent = if exchange.is_fresh() { clock::now() } else { begun };
        let result = self.send(&mut exchange, deadline).await;
        let now = clock::now();
        match result {
            Ok(response) => {
                backend.observe(now - sent, now);
                backend.judge(self.rule(), response.status().is_server_error(), now - sent, now);
                backend.count_status(response.status().as_u16());
                Ok(Got { response, exchange, at: now })
            }
            Err(broken) => {
                // A body that did not come is the client's doing.
                let late = matches!(broken, Broken::Final(Refusal::BackendTimeout, _));
                let upload = self.upload.as_ref();
                let blameless = matches!(broken, Broken::Unsent(_) | Broken::Closed { stale: true })
                    || upload.is_some_and(|u| u.failed().is_some() || (late && !u.is_done()));
                if !blameless {
                    backend.judge(self.rule(), true, now - sent, now);
                    backend.observe(now - sent, now);
                }
                Err(broken)
            }
        }
    }

    /// An idle connection; for a request that could not be sent again one that is surely open.
    async fn reusable(&self, lane: &Lane) -> Option<crate::lane::H1> {
        if self.fresh {
            return None;
        }
        let h1 = lane.checkout(&self.link)?;
        let rested = clock::ticks(self.start).saturating_sub(h1.idle_since) > LONG_REST;
        if self.idempotent || !rested {
            return Some(h1);
        }
        // The reactor and the connection's task get their turn: a close that has arrived is then seen.
        tokio::task::yield_now().await;
        if h1.sender.is_ready() && !h1.sender.is_closed() {
            return Some(h1);
        }
        lane.checkout(&self.link)
    }

    async fn send(&mut self, exchange: &mut Exchange, deadline: &Deadline) -> Result<Response<Incoming>, Broken> {
        // Kept only if it could be sent again; over HTTP/2 a backend may say of any request that it was not looked at.
        let head = if self.idempotent || self.link.is_h2() { self.head.clone() } else { self.head.take() };
        let Some(head) = head else {
            return Err(Broken::Final(Refusal::Internal, "the request was already sent"));
        };
        let body = self.upload.as_ref().map_or(Outgoing::EMPTY, Upload::again);
        let request = Request::from_parts(head, body);
        let (result, stale, answered) = match exchange {
            Exchange::H1(h1) => {
                let before = h1.read();
                let result = deadline.watch(h1.sender.try_send_request(request)).await;
                (result, !h1.is_fresh(), h1.read() != before)
            }
            Exchange::H2(share) => {
                let (mut sender, before) = (share.0.sender.clone(), share.0.read());
                let result = deadline.watch(sender.try_send_request(request)).await;
                if result.is_none() && share.0.read() == before {
                    share.0.retire();
                }
                (result, !share.1 && sender.is_closed(), false)
            }
        };
        let mut error = match result {
            Some(Ok(response)) => return Ok(response),
            None => return Err(Broken::Final(Refusal::BackendTimeout, "the service did not answer in time")),
            Some(Err(error)) => error,
        };
        if let Some(message) = error.take_message() {
            return Err(Broken::Unsent(Box::new(message.into_parts().0)));
        }
        let error = error.into_error();
        tracing::debug!(%error, "an exchange with a backend failed");
        if let Some(refusal) = self.upload.as_ref().and_then(|u| u.failed()) {
            return Err(Broken::Final(refusal, "the request's body ended early"));
        }
        Err(if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
            Broken::Final(Refusal::BadResponse, "the service's answer is not valid HTTP")
        } else if answered {
            Broken::Final(Refusal::BackendClosed, "the service broke off its answer")
        } else if is_unprocessed(&error) {
            Broken::Unprocessed
        } else {
            Broken::Closed { stale: stale && !self.stale_before }
        })
    }
}

/// RFC 9113 §8.7: a stream that was refused, or that a GOAWAY left out, was not processed.
fn is_unprocessed(error: &hyper::Error) -> bool {
    let h2 = std::error::Error::source(error).and_then(|e| e.downcast_ref::<h2::Error>());
    h2.is_some_and(|e| e.is_remote() && (e.is_go_away() || e.reason() == Some(h2::Reason::REFUSED_STREAM)))
}
