//! Layer 7's values made into documents.

use std::collections::BTreeMap;

use lb_control::{
    CacheStats, CertificateView, DurationText, HttpCounters, HttpExplanation, ListenerView, RouteView, View,
};
use lb_model::Name;
use lb_model::http::{Match, PathRewrite, Protocols, Route, Target, ValueMatch};
use serde_json::{Value, json};

use crate::document::unknown;
use crate::wire::route::{FilesDoc, MatchDoc, RedirectDoc, RespondDoc, SplitDoc};
use crate::wire::{
    CacheStatsDoc, CandidateDoc, CertificateDoc, Fault, HttpExplainDoc, ListenerDoc, RouteDetailDoc, RouteDoc, StepDoc,
};

#[must_use]
pub fn routes(view: &View) -> Vec<RouteDoc> {
    view.routes.iter().map(|r| row(r, view)).collect()
}

fn row(r: &RouteView, view: &View) -> RouteDoc {
    let route = &r.route;
    let on = view.listeners.iter().map(|l| &l.listener.name).filter(|l| route.is_on(l));
    let mut doc = RouteDoc {
        name: route.name.to_string(),
        listener: on.map(Name::to_string).collect(),
        matching: matching(&route.matching),
        pool: None,
        split: None,
        redirect: None,
        respond: None,
        files: None,
        policies: Vec::new(),
        requests: r.counters.requests,
        errors: r.counters.errors,
        p50_ms: quantile(&view.http, &route.name, 0.50),
        p99_ms: quantile(&view.http, &route.name, 0.99),
    };
    match &route.target {
        Target::Pool(name) => doc.pool = Some(name.to_string()),
        Target::Split(parts) => {
            let part = |(pool, weight): &(Name, u32)| SplitDoc { pool: pool.to_string(), weight: *weight };
            doc.split = Some(parts.iter().map(part).collect());
        }
        Target::Redirect { to, status } => {
            doc.redirect = Some(RedirectDoc { to: to.to_string(), status: status.as_u16() });
        }
        Target::Respond { status, body, headers } => {
            let text = |v: &http::HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
            let headers = headers.iter().map(|(k, v)| (k.to_string(), text(v))).collect();
            doc.respond = Some(RespondDoc { status: status.as_u16(), body: body.to_string(), headers });
        }
        Target::Files { root } => doc.files = Some(FilesDoc { root: root.display().to_string() }),
    }
    doc
}

fn matching(m: &Match) -> MatchDoc {
    let values = |list: &[(String, ValueMatch)]| list.iter().map(|(k, v)| (k.clone(), v.to_string())).collect();
    let hosts: Vec<String> = m.hosts.iter().map(ToString::to_string).collect();
    MatchDoc {
        host: match hosts.as_slice() {
            [] => None,
            [one] => Some(json!(one)),
            several => Some(json!(several)),
        },
        path: m.path.as_ref().map(ToString::to_string),
        methods: m.methods.iter().map(ToString::to_string).collect(),
        headers: m.headers.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        query: values(&m.query),
        cookies: values(&m.cookies),
        source: m.source.iter().map(ToString::to_string).collect(),
    }
}

/// The upper bound, in milliseconds, of the bucket that holds this quantile; the last bound for what lies beyond it.
fn quantile(http: &HttpCounters, route: &Name, q: f64) -> Option<f64> {
    let counts = &http.route_seconds.get(route)?.counts;
    let total: u64 = counts.iter().sum();
    let wanted = (total as f64 * q).ceil() as u64;
    let mut seen = 0;
    let last = lb_control::LATENCY_BUCKETS.len() - 1;
    let at = counts.iter().position(|n| {
        seen += n;
        seen >= wanted && seen > 0
    })?;
    Some(lb_control::LATENCY_BUCKETS[at.min(last)] as f64 / 1000.0)
}

/// # Errors
/// [`crate::wire::FaultKind::Unknown`], with the nearest name.
pub fn route(view: &View, name: &str) -> Result<RouteDetailDoc, Fault> {
    match view.route(name) {
        Some(found) => Ok(RouteDetailDoc { route: row(found, view), settings: settings(&found.route) }),
        None => Err(unknown("route", name, view.routes.iter().map(|r| r.route.name.as_str()))),
    }
}

fn settings(r: &Route) -> BTreeMap<String, Value> {
    let duration = |d| DurationText(d).to_string();
    let mut out = BTreeMap::new();
    let mut put = |key: &str, value: Value| drop(out.insert(key.to_owned(), value));
    let t = &r.timeouts;
    put("timeout", json!({"request": duration(t.request), "idle": duration(t.idle), "connect": duration(t.connect)}));
    put("retry", json!({"attempts": r.retry.attempts, "budget": format!("{}%", r.retry.budget_percent)}));
    put("upgrade", json!(r.upgrade));
    if let Some(bytes) = r.max_body {
        put("max_body", json!(bytes));
    }
    let mut rewrite = serde_json::Map::new();
    match &r.rewrite.path {
        Some(PathRewrite::Strip(prefix)) => drop(rewrite.insert("strip_prefix".into(), json!(prefix))),
        Some(PathRewrite::ReplacePrefix(with)) => drop(rewrite.insert("replace_prefix".into(), json!(with))),
        Some(PathRewrite::Path(path)) => drop(rewrite.insert("path".into(), json!(path.to_string()))),
        None => {}
    }
    if let Some(host) = &r.rewrite.host {
        rewrite.insert("host".into(), json!(host));
    }
    if !rewrite.is_empty() {
        put("rewrite", Value::Object(rewrite));
    }
    if let Some(c) = &r.compress {
        let algorithms: Vec<&str> = c.algorithms.iter().map(|a| a.as_str()).collect();
        put("compress", json!({"algorithms": algorithms, "min_size": c.min_size, "types": c.types}));
    }
    if let Some(c) = &r.cache {
        put(
            "cache",
            json!({
                "max_size": c.max_size, "max_object": c.max_object, "tags": c.tags.as_str(),
                "stale_while_revalidate": duration(c.stale_while_revalidate),
                "stale_if_error": duration(c.stale_if_error),
            }),
        );
    }
    if let Some(m) = &r.mirror {
        put("mirror", json!({"pool": m.pool.as_str(), "percent": m.percent}));
    }
    if !r.errors.is_empty() {
        let pages = r.errors.iter().map(|(status, page)| (status.to_string(), json!(page.display().to_string())));
        put("errors", Value::Object(pages.collect()));
    }
    if !r.path_unsafe.is_empty() {
        put("path_unsafe", json!(r.path_unsafe.iter().map(|u| u.as_str()).collect::<Vec<_>>()));
    }
    out
}

#[must_use]
pub fn listener(view: &ListenerView) -> ListenerDoc {
    let (l, c) = (&view.listener, &view.counters);
    ListenerDoc {
        name: l.name.to_string(),
        listen: l.listen.to_string(),
        protocols: protocols(l.protocols),
        tls: l.is_tls(),
        connections: c.connections,
        connections_total: c.connections_total,
        requests_total: c.requests_total,
        tls_failures: c.tls_failures,
        proxy_refused: c.proxy_refused,
    }
}

fn protocols(p: Protocols) -> Vec<String> {
    let all = [("h1", p.h1), ("h2", p.h2), ("h3", p.h3), ("h2c", p.h2c)];
    all.iter().filter(|(_, spoken)| *spoken).map(|(name, _)| (*name).to_owned()).collect()
}

#[must_use]
pub fn explanation(e: &HttpExplanation) -> HttpExplainDoc {
    let step = |s: &lb_control::HttpStep| StepDoc {
        stage: s.stage.to_owned(),
        decision: s.decision.clone(),
        why: s.why.clone(),
    };
    let candidate = |c: &lb_control::HttpCandidate| CandidateDoc {
        pool: c.pool.clone(),
        backend: c.backend.clone(),
        weight: c.weight,
    };
    HttpExplainDoc {
        verdict: e.verdict.to_owned(),
        reason: e.reason.clone(),
        listener: e.listener.clone(),
        route: e.route.clone(),
        status: e.status,
        pool: e.pool.clone(),
        backend: e.backend.clone(),
        candidates: e.candidates.iter().map(candidate).collect(),
        steps: e.steps.iter().map(step).collect(),
    }
}

#[must_use]
pub const fn cache_stats(s: CacheStats) -> CacheStatsDoc {
    let CacheStats { hits, misses, stored, evicted, entries, bytes } = s;
    CacheStatsDoc { hits, misses, stored, evicted, entries, bytes }
}

#[must_use]
pub fn certificate(c: &CertificateView) -> CertificateDoc {
    CertificateDoc {
        names: c.names.clone(),
        issuer: c.issuer.clone(),
        not_after: c.not_after.clone(),
        source: c.source.to_owned(),
        path: c.path.clone(),
        listener: c.listener.clone(),
        error: c.error.clone(),
    }
}
