//! What would become of a request, told by the functions that serve requests: nothing is sent, no turn is taken.

mod ask;
mod file;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::SystemTime;

use http::header::HOST;
use http::{HeaderValue, Method, Request, StatusCode, Version};
use lb_model::Name;
use lb_model::http::{Refusal, Target};
use lb_routing::{Captures, Head, Outcome, path, rewrite, template};
use lb_upstream::{Ask, Candidate, Choice};

use self::ask::Url;
use super::forwarded::Peer;
use super::{Fault, head, redirect, upgrade};
use crate::explain::{ExplainRequest, HttpCandidate, HttpExplanation, HttpStep};
use crate::snapshot::{Road, Site};

/// What is in force.
pub(crate) struct Ground<'a> {
    pub sites: &'a [Arc<Site>],
    /// Some certificate of this listener is for this host.
    pub covers: &'a dyn Fn(&Name, &str) -> bool,
    /// Who of a pool would get a request.
    pub choose: &'a dyn Fn(&Name, &Ask<'_>) -> Option<Choice>,
    pub now: SystemTime,
}

/// # Errors
/// A URL that is none, or a listener that is unknown or not told: in words.
pub(crate) fn explain(ground: &Ground<'_>, asked: &ExplainRequest) -> Result<HttpExplanation, String> {
    let url = Url::read(&asked.url)?;
    let (site, why) = ask::listener(ground.sites, &url, asked.listener.as_deref())?;
    let mut story = Story { ground, site, out: HttpExplanation::default() };
    let name = site.listener.name.to_string();
    story.out.listener = Some(name.clone());
    story.step("listener", name, why);
    if let Err(fault) = story.walk(asked, &url) {
        story.answer(fault.refusal.name(), fault.refusal.status());
        story.step("refuse", fault.refusal.name(), fault.detail);
    }
    Ok(story.out)
}

struct Story<'g> {
    ground: &'g Ground<'g>,
    site: &'g Arc<Site>,
    out: HttpExplanation,
}

impl Story<'_> {
    fn step(&mut self, stage: &'static str, decision: impl Into<String>, why: impl Into<String>) {
        self.out.steps.push(HttpStep { stage, decision: decision.into(), why: why.into() });
    }

    fn answer(&mut self, reason: &str, status: StatusCode) {
        self.out.verdict = "respond";
        self.out.reason = reason.to_owned();
        self.out.status = Some(status.as_u16());
    }

    /// In the order of `request.rs`.
    fn walk(&mut self, asked: &ExplainRequest, url: &Url) -> Result<(), Fault> {
        let site = self.site;
        let mut parts = request(asked, url)?;
        let limit = site.listener.limits.uri;
        let judged = head::judge(&parts.method, &parts.uri, parts.version, &parts.headers, limit, false)?;
        self.step("head", "valid", format!("the host is '{}'", judged.host()));
        let client = self.client(asked, &parts.headers);
        let uri = parts.uri.clone();
        let normal =
            path::normalise(uri.path()).map_err(|_| Fault::last(Refusal::BadRequest, "the path is not valid"))?;
        let as_sent = normal.path == uri.path();
        self.step("path", &*normal.path, if as_sent { "as sent" } else { "in its normal form" });
        let (method, headers) = (parts.method.clone(), parts.headers.clone());
        let head = Head {
            host: judged.host(),
            path: &normal.path,
            query: uri.query(),
            method: &method,
            headers: &headers,
            source: client,
        };
        self.routes(&head);
        let found = site.table.find(&head).ok_or_else(|| self.nowhere(judged.host()))?;
        let road = site.roads.get(found.index).ok_or(NO_ROUTE)?;
        if site.listener.is_tls() && !road.route.matching.hosts.is_empty() && !self.covered(judged.host()) {
            return Err(MISDIRECTED);
        }
        self.out.route = Some(road.route.name.to_string());
        if normal.escapes.beyond(&road.route.path_unsafe).is_some() {
            return Err(Fault::new(Refusal::BadRequest, "the path has an escape that is not allowed here"));
        }
        if self.answered_here(road, &found.captures, &head, &parts)? {
            return Ok(());
        }
        if let (Some(length), Some(most)) = (judged.seen.content_length, road.route.max_body)
            && length > most
        {
            return Err(Fault::last(Refusal::BodyTooLarge, "the request's body is larger than is taken here"));
        }
        if let Some(asked) = upgrade::asked(&mut parts, &road.route.upgrade)? {
            self.step("upgrade", asked.protocol.to_str().unwrap_or_default(), "the route names it");
        }
        self.forward(road, &found.captures, &head)
    }

    fn client(&mut self, asked: &ExplainRequest, headers: &http::HeaderMap) -> IpAddr {
        let listener = &self.site.listener;
        let from = asked.from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let peer = Peer::new(listener, from, listener.is_tls());
        let client = peer.client(listener, headers);
        let why = match (peer.trusted, client == peer.address) {
            (false, _) => "the peer, whose forwarding fields are not believed",
            (true, true) => "the peer is trusted, and names no other",
            (true, false) => "as the trusted peer says",
        };
        self.step("client", client.to_string(), why);
        client
    }

    fn routes(&mut self, head: &Head<'_>) {
        for considered in self.site.table.explain(head) {
            let name = &considered.route.name;
            let (decision, why) = match considered.outcome {
                Outcome::Won => (format!("{name}: taken"), "the first that matches".to_owned()),
                Outcome::Lost(why) => (format!("{name}: not taken"), why),
                Outcome::NotMatched(why) => (format!("{name}: does not match"), why),
            };
            self.step("route", decision, why);
        }
    }

    fn nowhere(&self, host: &str) -> Fault {
        let known = self.site.table.may_serve(host) && self.covered(host);
        if !self.site.listener.is_tls() || known { NO_ROUTE } else { MISDIRECTED }
    }

    fn covered(&self, host: &str) -> bool {
        (self.ground.covers)(&self.site.listener.name, host)
    }

    /// Redirects, fixed answers and files.
    fn answered_here(
        &mut self,
        road: &Road,
        captures: &Captures,
        head: &Head<'_>,
        parts: &http::request::Parts,
    ) -> Result<bool, Fault> {
        let route = &road.route;
        match &route.target {
            Target::Redirect { to, status } => {
                let to = template::fill(to, route, captures, head);
                redirect::redirect(&to, *status)?;
                self.answer("redirect", *status);
                self.step("redirect", to, "the route redirects");
            }
            Target::Respond { status, .. } => {
                self.answer("respond", *status);
                self.step("respond", status.as_str(), "the route answers itself");
            }
            Target::Files { root } => {
                let target = rewrite::path(route, captures, head);
                let status = file::status(root, &target, parts, self.ground.now);
                self.answer("files", status);
                self.step("files", status.as_str(), format!("'{target}' below {}", root.display()));
            }
            Target::Pool(_) | Target::Split(_) => return Ok(false),
        }
        Ok(true)
    }

    fn forward(&mut self, road: &Road, captures: &Captures, head: &Head<'_>) -> Result<(), Fault> {
        let route = &road.route;
        let target = rewrite::path(route, captures, head);
        if target != head.path {
            self.step("rewrite", &*target, "the route rewrites the path");
        }
        if let Some(host) = &route.rewrite.host {
            self.step("rewrite", host, "the route sets the host");
        }
        if route.cache.is_some() {
            let looked_up = matches!(*head.method, Method::GET | Method::HEAD);
            self.step(
                "cache",
                if looked_up { "looked up" } else { "bypassed" },
                if looked_up { "a stored answer would be given instead" } else { "only GET and HEAD are looked up" },
            );
        }
        if let Some(mirror) = &route.mirror {
            self.step("mirror", mirror.pool.to_string(), format!("{} % of requests are copied", mirror.percent));
        }
        match &route.target {
            Target::Split(parts) => self.split(parts, head),
            Target::Pool(pool) => self.pool(pool, head),
            _ => Err(NO_ROUTE),
        }
    }

    fn pool(&mut self, pool: &Name, head: &Head<'_>) -> Result<(), Fault> {
        self.out.pool = Some(pool.to_string());
        let candidates = match self.choose(pool, head) {
            Choice::One(one) => {
                self.step("backend", one.address.to_string(), "a hash or a cookie decides");
                self.out.backend = Some(one.address.to_string());
                Vec::new()
            }
            Choice::Any(one) if one.len() == 1 => {
                let address = one.first().map(|c| c.address.to_string());
                self.step("backend", address.clone().unwrap_or_default(), "no other takes requests");
                self.out.backend = address;
                Vec::new()
            }
            Choice::Any(none) if none.is_empty() => return Err(NO_BACKEND),
            Choice::Any(some) => {
                self.step("backend", format!("one of {}", some.len()), "chance or state decides");
                some
            }
        };
        self.out.candidates = candidates.iter().map(|c| candidate(pool, c, c.weight)).collect();
        self.forwards();
        Ok(())
    }

    fn split(&mut self, parts: &[(Name, u32)], head: &Head<'_>) -> Result<(), Fault> {
        let live: Vec<&(Name, u32)> = parts.iter().filter(|(_, weight)| *weight > 0).collect();
        if let [(only, _)] = live.as_slice() {
            return self.pool(only, head);
        }
        for (pool, weight) in live {
            self.step("split", pool.to_string(), format!("weight {weight}"));
            let candidates = match self.choose(pool, head) {
                Choice::One(one) => vec![one],
                Choice::Any(some) => some,
            };
            let total: u64 = candidates.iter().map(|c| u64::from(c.weight)).sum();
            for c in &candidates {
                // Its share of the pool's weight.
                let share = u64::from(*weight) * u64::from(c.weight) / total.max(1);
                self.out.candidates.push(candidate(pool, c, u32::try_from(share.max(1)).unwrap_or(u32::MAX)));
            }
        }
        if self.out.candidates.is_empty() {
            return Err(NO_BACKEND);
        }
        self.step("backend", format!("one of {}", self.out.candidates.len()), "the pool's turn decides");
        self.forwards();
        Ok(())
    }

    fn choose(&self, pool: &Name, head: &Head<'_>) -> Choice {
        let ask = Ask { client: head.source, headers: head.headers, path: head.path };
        (self.ground.choose)(pool, &ask).unwrap_or(Choice::Any(Vec::new()))
    }

    fn forwards(&mut self) {
        self.out.verdict = "forward";
        self.out.reason = "routed".to_owned();
    }
}

fn candidate(pool: &Name, candidate: &Candidate, weight: u32) -> HttpCandidate {
    HttpCandidate { pool: pool.to_string(), backend: candidate.address.to_string(), weight }
}

/// The request as it would come over HTTP/1.1.
fn request(asked: &ExplainRequest, url: &Url) -> Result<http::request::Parts, Fault> {
    let bad = |_| Fault::last(Refusal::BadRequest, "the target is not valid");
    let request = Request::builder().method(asked.method.clone()).uri(url.target.clone()).version(Version::HTTP_11);
    let mut parts = request.body(()).map_err(bad)?.into_parts().0;
    parts.headers = asked.headers.clone();
    if !parts.headers.contains_key(HOST) {
        let host = HeaderValue::from_str(&url.authority);
        parts.headers.insert(HOST, host.map_err(|_| Fault::last(Refusal::BadRequest, "no Host"))?);
    }
    Ok(parts)
}

const MISDIRECTED: Fault =
    Fault::new(Refusal::Misdirected, "no certificate or no route of this listener is for that host");
const NO_ROUTE: Fault = Fault::new(Refusal::NoRoute, "no route matches");
const NO_BACKEND: Fault = Fault::new(Refusal::NoBackend, "no backend takes requests");
