//! The pipeline: what happens to a request, stage after stage, from a head that could be read to a response.

use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONNECTION, COOKIE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version};
use lb_message::Body;
use lb_model::http::{Refusal, Target};
use lb_routing::{Head, path, rewrite, template};

use crate::clock;
use crate::connection::Connection;
use crate::file;
use crate::forward::Forward;
use crate::record::Record;
use crate::snapshot::{Aim, Road, Site};
use crate::stage::head::{self, Judged};
use crate::stage::limit::{Download, Upload, UploadRules};
use crate::stage::refuse::{Refused, is_grpc, refuse};
use crate::stage::upgrade::{self, Asked};
use crate::stage::{Fault, fixed, hop, redirect};
use crate::tunnel::Tunnel;

/// A response for the client. With a tunnel the record ends when that does.
#[derive(Debug)]
pub(crate) struct Reply {
    pub response: Response<Download<Option<Box<Record>>>>,
    pub tunnel: Option<Box<Tunnel>>,
}

/// What a stage ends a request with.
#[derive(Debug)]
pub(crate) enum End {
    Fault(Fault),
    /// From the way to a backend.
    Failure {
        refusal: Refusal,
        detail: &'static str,
        retry_after: Option<u32>,
    },
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A response, and the tunnel that begins after it.
pub(crate) type Answered = (Response<Body>, Option<Tunnel>);

/// Serves one request. Dropping the future ends everything that was begun for it.
pub(crate) async fn serve(connection: &Rc<Connection>, request: Request<Body>) -> Reply {
    let site = connection.site();
    let (mut parts, body) = request.into_parts();
    let id = connection.peer.request_id(&parts.headers).unwrap_or_else(|| connection.worker.request_id());
    let mut record = Box::new(Record::new(connection, Arc::clone(&site), clock::now(), id));
    record.of(&parts);
    record.trace(&mut parts.headers);
    let grpc = is_grpc(&parts.headers);
    let head_only = parts.method == Method::HEAD;
    let version = parts.version;
    let (mut response, tunnel) = match answer(connection, &site, &mut parts, body, &mut record).await {
        Ok(answered) => answered,
        Err(end) => (refused(&mut record, &end, grpc), None),
    };
    dress(connection, &site, &mut response, &record, version);
    record.status = response.status().as_u16();
    reply(response, tunnel, record, head_only, grpc)
}

/// A request of which not even the head could be read (HTTP/1).
pub(crate) fn unreadable(connection: &Rc<Connection>, fault: &Fault) -> Reply {
    let site = connection.site();
    let id = connection.worker.request_id();
    let mut record = Box::new(Record::new(connection, Arc::clone(&site), clock::now(), id));
    let mut response = refused(&mut record, &End::Fault(*fault), false);
    dress(connection, &site, &mut response, &record, Version::HTTP_11);
    record.status = response.status().as_u16();
    reply(response, None, record, false, false)
}

fn reply(response: Response<Body>, tunnel: Option<Tunnel>, record: Box<Record>, head_only: bool, grpc: bool) -> Reply {
    if let Some(mut tunnel) = tunnel {
        tunnel.record = Some(record);
        let response = response.map(|b| Download::new(b, false, None));
        return Reply { response, tunnel: Some(Box::new(tunnel)) };
    }
    let response = response.map(|body| {
        let body = if head_only { Body::Empty } else { body };
        Download::new(body, grpc, Some(record))
    });
    Reply { response, tunnel: None }
}

/// What every response of the listener carries.
fn dress(connection: &Connection, site: &Site, response: &mut Response<Body>, record: &Record, version: Version) {
    site.face.put(response.headers_mut(), &record.request_id);
    let requests = connection.requests.get() + 1;
    connection.requests.set(requests);
    let most = site.listener.limits.requests_per_connection;
    let last = connection.life.going() || (most > 0 && requests >= most);
    if last && version <= Version::HTTP_11 && !response.status().is_informational() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

fn refused(record: &mut Record, end: &End, grpc: bool) -> Response<Body> {
    let (refusal, detail, retry_after, close) = match *end {
        End::Fault(fault) => (fault.refusal, fault.detail, None, fault.close),
        End::Failure { refusal, detail, retry_after } => (refusal, detail, retry_after, false),
    };
    record.reason = Some(refusal);
    let road = record.road.clone();
    let pages = road.as_ref().map(|r| &r.pages).filter(|p| !p.is_empty());
    let request_id = &record.request_id;
    refuse(&Refused { refusal, detail, request_id, retry_after, grpc, close, pages })
}

/// Judges, routes, and answers or forwards.
async fn answer(
    connection: &Rc<Connection>,
    site: &Arc<Site>,
    parts: &mut Parts,
    body: Body,
    record: &mut Record,
) -> Result<Answered, End> {
    if parts.version >= Version::HTTP_2 {
        within_limits(parts, site)?;
        one_cookie(&mut parts.headers);
    }
    let extended = parts.method == Method::CONNECT && parts.extensions.get::<hyper::ext::Protocol>().is_some();
    let limit = site.listener.limits.uri;
    let judged = head::judge(&parts.method, &parts.uri, parts.version, &parts.headers, limit, extended)?;
    if extended {
        // It is routed as the GET that it stands for (RFC 8441 §5).
        parts.method = Method::GET;
    }
    if let Some(line) = &mut record.head {
        line.host.clone_from(&judged.authority);
    }
    if judged.seen.ambiguous {
        head::drop_ambiguous(&mut parts.headers);
    }
    record.client = connection.peer.client(&site.listener, &parts.headers);
    if parts.uri.path() == "*" {
        return Ok((Response::new(Body::Empty), None));
    }
    if let Some(response) = challenge(connection, &parts.uri) {
        return Ok((response, None));
    }
    own_host(connection, site, judged.host())?;
    let uri = parts.uri.clone();
    let normal = path::normalise(uri.path()).map_err(|_| BAD_PATH)?;
    let head = Head {
        host: judged.host(),
        path: &normal.path,
        query: uri.query(),
        method: &parts.method,
        headers: &parts.headers,
        source: record.client,
    };
    let found = site.table.find(&head).ok_or_else(|| nowhere(connection, site, judged.host()))?;
    let road = site.roads.get(found.index).cloned().ok_or(NO_ROUTE)?;
    record.road = Some(Arc::clone(&road));
    let route = Arc::clone(&road.route);
    // Without a host in its match a route takes what no certificate covers.
    if connection.tls.is_some() && !route.matching.hosts.is_empty() && !connection.place.covers(judged.host()) {
        return Err(MISDIRECTED.into());
    }
    if normal.escapes.beyond(&route.path_unsafe).is_some() {
        return Err(Fault::new(Refusal::BadRequest, "the path has an escape that is not allowed here").into());
    }
    match &route.target {
        Target::Redirect { to, status } => {
            let to = template::fill(to, &route, &found.captures, &head);
            return Ok((redirect::redirect(&to, *status)?, None));
        }
        Target::Respond { status, body, headers } => {
            let text = template::fill(body, &route, &found.captures, &head);
            return Ok((fixed::fixed(*status, text, headers), None));
        }
        Target::Pool(_) | Target::Split(_) | Target::Files { .. } => {}
    }
    let target = rewrite::path(&route, &found.captures, &head);
    if let Target::Files { root } = &route.target {
        return Ok((file::serve(&road, root, (&normal.path, &target), parts, record).await, None));
    }
    let target = origin_form(&uri, &target)?;
    let normal = normal.path;
    forwarded(connection, road, parts, body, record, judged, (&normal, target)).await
}

/// To a pool: the request as the backend is to see it, then the way there.
async fn forwarded(
    connection: &Rc<Connection>,
    road: Arc<Road>,
    parts: &mut Parts,
    body: Body,
    record: &mut Record,
    judged: Judged,
    (normal, target): (&str, Uri),
) -> Result<Answered, End> {
    let route = &road.route;
    if let (Some(length), Some(most)) = (judged.seen.content_length, route.max_body)
        && length > most
    {
        return Err(Fault::last(Refusal::BodyTooLarge, "the request's body is larger than is taken here").into());
    }
    let pool = match &road.aim {
        Aim::Pool(pool) => pool,
        Aim::Split(split, pools) => pools.get(split.next()).ok_or(NO_ROUTE)?,
        Aim::Here => return Err(NO_ROUTE.into()),
    };
    record.takes(pool);
    let asked: Option<Asked> = upgrade::asked(parts, &route.upgrade)?;
    let grpc = is_grpc(&parts.headers);
    let timeout = record.site.listener.timeouts.body;
    let (body, meter) = if asked.is_some() {
        (Body::Empty, None)
    } else {
        Upload::wrap(body, UploadRules { max: route.max_body, timeout, grpc })
    };
    record.meter.clone_from(&meter);
    if judged.seen.hop || asked.is_some() {
        hop::request(&mut parts.headers, asked.as_ref().map(|a| a.protocol.clone()), pool.h2);
    }
    let version = std::mem::replace(&mut parts.version, Version::HTTP_11);
    connection.peer.tell(&mut parts.headers, judged.seen, judged.authority.as_ref(), version, &record.request_id);
    if let Some(host) = &route.rewrite.host {
        let host = HeaderValue::from_str(host).map_err(|_| NO_ROUTE)?;
        parts.headers.insert(HOST, host);
    } else if let Some(host) = judged.authority.as_ref().filter(|_| version >= Version::HTTP_2) {
        parts.headers.insert(HOST, host.clone());
    } else if judged.authority.is_none() {
        // HTTP/1.0 without Host becomes HTTP/1.1, which has one, if only an empty one (RFC 9112 §3.2).
        parts.headers.insert(HOST, HeaderValue::from_static(""));
    }
    parts.uri = target;
    let pool = pool.clone();
    let forward = Forward { connection: Rc::clone(connection), road, pool, client: record.client, judged, meter };
    forward.run(parts, body, record, normal, asked).await
}

const BAD_PATH: Fault = Fault::last(Refusal::BadRequest, "the path is not valid");
const NO_ROUTE: Fault = Fault::new(Refusal::NoRoute, "no route matches");
const MISDIRECTED: Fault = Fault::new(Refusal::Misdirected, "this connection is for other hosts");

/// RFC 9113 §8.2.3: cookies that came in several fields are one in HTTP/1.
fn one_cookie(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(one) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(COOKIE, one);
    }
}

/// HTTP/1 has judged the raw head already. Counted as RFC 9113 §6.5.2 counts, but for its 32 bytes a field.
fn within_limits(parts: &Parts, site: &Site) -> Result<(), Fault> {
    let limits = &site.listener.limits;
    let fields: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let target = parts.uri.path_and_query().map_or(0, |p| p.as_str().len());
    if parts.headers.len() as u64 > u64::from(limits.fields) {
        return Err(Fault::last(Refusal::HeadersTooLarge, "the request has more fields than this listener takes"));
    }
    if fields as u64 > limits.header && target as u64 <= limits.uri {
        return Err(Fault::last(Refusal::HeadersTooLarge, "the request's head is longer than this listener takes"));
    }
    Ok(())
}

/// With client certificates a connection is for the host that it was opened for: another one may demand others.
fn own_host(connection: &Connection, site: &Site, host: &str) -> Result<(), Fault> {
    let Some(tls) = &connection.tls else { return Ok(()) };
    let same = tls.server_name.as_deref() == Some(host);
    if site.listener.client_auth.is_some() && !same { Err(MISDIRECTED) } else { Ok(()) }
}

/// No route: over TLS another connection may be the right one (RFC 9110 §15.5.20).
fn nowhere(connection: &Connection, site: &Site, host: &str) -> Fault {
    let known = connection.tls.is_none() || (site.table.may_serve(host) && connection.place.covers(host));
    if known { NO_ROUTE } else { MISDIRECTED }
}

/// `/.well-known/acme-challenge/TOKEN` (RFC 8555 §8.3), in clear text, before anything is routed.
fn challenge(connection: &Connection, uri: &Uri) -> Option<Response<Body>> {
    let token = uri.path().strip_prefix("/.well-known/acme-challenge/")?;
    let answer = if connection.tls.is_none() { connection.worker.shared.challenge(token) } else { None }?;
    Some(fixed::fixed(http::StatusCode::OK, answer, &[]))
}

/// The target for a backend: as it came, where nothing was changed.
fn origin_form(uri: &Uri, path: &str) -> Result<Uri, Fault> {
    if path == uri.path() {
        return match uri.path_and_query() {
            Some(_) if uri.scheme().is_none() => Ok(uri.clone()),
            Some(same) => Ok(Uri::from(same.clone())),
            None => Err(BAD_PATH),
        };
    }
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    Uri::try_from(text).map_err(|_| BAD_PATH)
}
