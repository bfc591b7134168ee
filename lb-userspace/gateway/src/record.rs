//! One request from its head to its last byte: what the access line, the counts and the tap say of it.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use lb_model::http::Refusal;
use lb_observe::traces::SpanStart;

use crate::clock;
use crate::connection::Connection;
use crate::snapshot::{Pooled, Road, Site};
use crate::stage::limit::{Finish, Meter, Sent};
use crate::stats::{Ended, NONE};
use crate::trace;

/// Ends once: with [`Finish::finish`], or when it is dropped because the client went away.
#[derive(Debug)]
pub(crate) struct Record {
    pub connection: Rc<Connection>,
    pub site: Arc<Site>,
    pub started: Instant,
    /// `None`: there was no head that could be read.
    pub head: Option<Line>,
    pub request_id: HeaderValue,
    pub client: IpAddr,
    pub road: Option<Arc<Road>>,
    pub pool: Option<(lb_model::Name, u32)>,
    pub backend: Option<SocketAddr>,
    pub backend_took: Option<Duration>,
    pub retries: u32,
    pub cache: Option<&'static str>,
    pub reason: Option<Refusal>,
    /// 0: none was sent.
    pub status: u16,
    pub meter: Option<Rc<Meter>>,
    /// Bytes of a tunnel, from the client.
    pub tunnelled_in: u64,
    /// Where traces are on, and this one is sampled.
    pub span: Option<Box<SpanStart>>,
    /// While somebody taps.
    pub tapped: Option<Box<HeaderMap>>,
    over: bool,
}

/// What is kept of the request's head; nothing in it is copied.
#[derive(Debug)]
pub(crate) struct Line {
    pub method: Method,
    pub uri: Uri,
    pub version: Version,
    pub host: Option<HeaderValue>,
    /// For Apache's format.
    pub referer: Option<HeaderValue>,
    pub agent: Option<HeaderValue>,
}

impl Record {
    pub(crate) fn new(connection: &Rc<Connection>, site: Arc<Site>, started: Instant, request_id: HeaderValue) -> Self {
        connection.worker.requests_open(1);
        Self {
            client: connection.peer.address,
            connection: Rc::clone(connection),
            site,
            started,
            head: None,
            request_id,
            road: None,
            pool: None,
            backend: None,
            backend_took: None,
            retries: 0,
            cache: None,
            reason: None,
            status: 0,
            meter: None,
            tunnelled_in: 0,
            span: None,
            tapped: None,
            over: false,
        }
    }

    pub(crate) fn of(&mut self, parts: &Parts) {
        if self.connection.worker.shared.taps.any() {
            self.tapped = Some(Box::new(parts.headers.clone()));
        }
        let wide = self.connection.worker.log_is_combined();
        let field = |name| if wide { parts.headers.get(name).cloned() } else { None };
        self.head = Some(Line {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            version: parts.version,
            host: None,
            referer: field(http::header::REFERER),
            agent: field(http::header::USER_AGENT),
        });
    }

    /// Where traces are on: the span begins, and the backend hears of it.
    pub(crate) fn trace(&mut self, headers: &mut HeaderMap) {
        if let Some(traces) = &self.connection.worker.shared.traces {
            self.span = traces.begin(headers, clock::wall()).map(Box::new);
        }
    }

    pub(crate) fn takes(&mut self, pool: &Pooled) {
        self.pool = Some((pool.name.clone(), pool.id));
    }

    /// Of the body or tunnel, from the client.
    pub(crate) fn bytes_in(&self) -> u64 {
        self.meter.as_ref().map_or(self.tunnelled_in, |m| m.bytes())
    }

    fn end(&mut self, sent: Sent) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        if self.status == 0 {
            self.status = Refusal::ClientClosed.code();
        }
        if !sent.complete && self.reason.is_none() {
            self.reason = Some(if sent.failed { Refusal::BackendClosed } else { Refusal::ClientClosed });
        }
        let worker = &self.connection.worker;
        worker.requests_open(-1);
        let took = clock::now().saturating_duration_since(self.started);
        worker.shard.ended(&Ended {
            listener: self.site.id,
            route: self.road.as_ref().map_or(NONE, |r| r.id),
            pool: self.pool.as_ref().map_or(NONE, |p| p.1),
            status: self.status,
            took,
            reason: self.reason,
        });
        if let (Some(traces), Some(start)) = (&worker.shared.traces, &self.span) {
            trace::end(traces, start, self, took);
        }
        worker.log(self, sent.bytes, took);
    }
}

impl Finish for Option<Box<Record>> {
    fn finish(self, sent: Sent) {
        if let Some(record) = self {
            record.finish(sent);
        }
    }
}

impl Finish for Record {
    fn finish(mut self, sent: Sent) {
        self.end(sent);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end(Sent { bytes: 0, complete: false, failed: false, grpc_status: None });
    }
}
