//! Every document that scripts rely on, frozen as text: fields may be added, none may change or go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lb_api::wire::{Fault, FaultKind};
use lb_api::{document, document_http};
use lb_common::reason::Reason;
use lb_control::{BackendCounters, Explanation, FlowRecord, InterfaceStatus, PlaneKind, ServiceCounters, Step};
use lb_control::{BackendState, BackendView, Origin, PlanPool, PlanReport, PoolView, ServiceView, View};
use lb_control::{CacheStats, CertificateView, HttpCandidate, HttpExplanation, HttpStep};
use lb_control::{HttpCounters, LATENCY_BUCKETS, ListenerCounters, ListenerView, RouteCounters, RouteView};
use lb_model::http::{HostPattern, Listener, Match, PathPattern, PathRewrite, Route, Target, Template, ValueMatch};
use lb_model::{Affinity, Algorithm, Name, Observation, Protocol, RateLimit, Service};
use serde::Serialize;

fn name(s: &str) -> Name {
    s.parse().expect("a name")
}

fn backend(address: &str, state: BackendState, health: Observation) -> BackendView {
    BackendView {
        pool: name("web"),
        address: address.parse().expect("an address"),
        resolved: vec!["10.0.0.11".parse().expect("an address")],
        weight: 2,
        state,
        health,
        counters: BackendCounters { active_flows: 3, flows_total: 40, packets: 500, bytes: 6000 },
        drain_deadline_in: (state == BackendState::Draining).then_some(Duration::from_millis(12_900)),
        leaving: state == BackendState::Draining,
        source: if state == BackendState::Drained { Origin::Cli } else { Origin::File },
    }
}

fn service() -> Service {
    let mut service = Service::new(name("web"), "192.0.2.10:80/tcp".parse().expect("a listen"), name("web"));
    service.affinity = Affinity::ClientIp { timeout: Duration::from_secs(300) };
    service.deny = vec!["10.9.0.0/16".parse().expect("a prefix")];
    service.rate_limit = Some(RateLimit { interval: Duration::from_millis(10), burst: 200 });
    service
}

fn view() -> View {
    View {
        version: "0.1.0",
        data_plane: PlaneKind::XdpGeneric,
        data_plane_reason: "the driver has no XDP".into(),
        interfaces: vec![InterfaceStatus { name: "eth0".into(), index: 2, mode: "generic", detail: "e1000".into() }],
        services: vec![ServiceView {
            service: service(),
            algorithm: Algorithm::Maglev,
            counters: ServiceCounters {
                active_flows: 9,
                flows_total: 120,
                packets: 1500,
                bytes: 18_000,
                dropped: BTreeMap::from([(Reason::Denied, 7)]),
            },
        }],
        pools: vec![PoolView {
            name: name("web"),
            algorithm: Algorithm::Maglev,
            http_algorithm: None,
            backends: vec![
                backend("10.0.0.11:8080", BackendState::Active, Observation::Healthy),
                backend("10.0.0.12:8080", BackendState::Draining, Observation::Unhealthy("connection refused".into())),
                backend("web-3.example:8080", BackendState::Drained, Observation::Unknown),
            ],
        }],
        listeners: vec![edge()],
        routes: routes(),
        http: counters(),
        unowned: BTreeMap::from([(Reason::NotOurs, 1000), (Reason::Malformed, 4)]),
        uptime: Duration::from_millis(61_999),
        overrides: vec!["web/10.0.0.11:8080: weight 2".into()],
        memory_bytes: 1 << 20,
        flows: 9,
        flow_capacity: 1_000_000,
        config_path: Some("/etc/lb/lb.toml".into()),
        last_reload_error: None,
        notes: vec![],
    }
}

fn edge() -> ListenerView {
    let mut listener = Listener::new(name("edge"), "192.0.2.10:443".parse().expect("an address"));
    listener.protocols.h2 = true;
    let counters =
        ListenerCounters { connections: 2, connections_total: 30, requests_total: 400, ..Default::default() };
    ListenerView { listener: Arc::new(listener), counters }
}

/// One of each target.
fn routes() -> Vec<RouteView> {
    let view = |route| RouteView { route: Arc::new(route), counters: RouteCounters { requests: 9, errors: 1 } };
    let mut orders = Route::new(name("orders"), Target::Pool(name("web")));
    orders.listeners = vec![name("edge")];
    orders.matching = Match {
        hosts: vec![HostPattern::Wildcard("example.com".into())],
        path: Some(PathPattern::Prefix("/api/v2".into())),
        methods: vec![http::Method::GET, http::Method::POST],
        headers: vec![(http::HeaderName::from_static("x-beta"), ValueMatch::Exact("1".into()))],
        query: vec![("debug".into(), ValueMatch::Present)],
        cookies: vec![("beta".into(), ValueMatch::Present)],
        source: vec!["10.0.0.0/8".parse().expect("a prefix")],
    };
    orders.rewrite.path = Some(PathRewrite::Strip("/api/v2".into()));
    let template = |t| Template::parse(t).expect("a template");
    let status = http::StatusCode::PERMANENT_REDIRECT;
    let others = [
        ("canary", Target::Split(vec![(name("web"), 95), (name("next"), 5)])),
        ("moved", Target::Redirect { to: template("https://{host}{path}"), status }),
        ("pong", Target::Respond { status: http::StatusCode::OK, body: template("pong"), headers: Vec::new() }),
        ("files", Target::Files { root: "/srv".into() }),
    ];
    let others = others.into_iter().map(|(n, target)| Route::new(name(n), target));
    std::iter::once(orders).chain(others).map(view).collect()
}

fn counters() -> HttpCounters {
    let mut out = HttpCounters::default();
    let mut counts = vec![0; LATENCY_BUCKETS.len() + 1];
    (counts[0], counts[3], counts[13]) = (5, 3, 1);
    let histogram = lb_control::Histogram { counts, sum: Duration::from_secs(9) };
    out.route_seconds.insert(name("orders"), histogram);
    out.refused.insert("no_route", 3);
    out
}

/// Compares with `tests/golden/{file}.json`; `UPDATE_GOLDEN=1` writes it.
fn golden(file: &str, document: &impl Serialize) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file).with_extension("json");
    let now = serde_json::to_string_pretty(document).expect("JSON") + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &now).expect("written");
    }
    let frozen = std::fs::read_to_string(&path).expect("a golden document");
    assert_eq!(now, frozen, "{}", path.display());
}

#[test]
fn status() {
    golden("status", &document::status(&view()));
}

#[test]
fn services_and_backends() {
    golden("services", &document::services(&view()));
    golden("service", &document::service(&view(), "web").expect("a service"));
    golden("backends", &document::backends(&view(), None).expect("backends"));
    assert_eq!(document::backends(&view(), Some("web")), document::backends(&view(), None));
}

#[test]
fn flows() {
    let record = FlowRecord {
        service: name("dns"),
        protocol: Protocol::Udp,
        client: "[2001:db8::7]:40000".parse().expect("an address"),
        vip: "[2001:db8::1]:53".parse().expect("an address"),
        backend: "[2001:db8::11]:53".parse().expect("an address"),
        state: "established",
        age: Duration::from_millis(2900),
        idle: Duration::from_millis(900),
        packets: 5,
        bytes: 400,
    };
    golden("flows", &[document::flow(&record)]);
}

#[test]
fn explanations() {
    let step = |stage, decision: &str, why: &str| Step { stage, decision: decision.into(), why: why.into() };
    let forward = Explanation {
        verdict: Reason::Forwarded.verdict(),
        reason: Reason::Forwarded,
        service: Some(name("web")),
        pool: Some(name("web")),
        slot: Some(4711),
        backend: Some("10.0.0.11:8080".parse().expect("an address")),
        next_hop: Some("10.0.0.11 dev eth0 lladdr 02:00:00:00:00:0b".into()),
        steps: vec![
            step("service", "web", "192.0.2.10:80/tcp"),
            step("select", "slot 4711", "maglev over 65537 slots"),
        ],
    };
    let pass = Explanation {
        verdict: Reason::NotOurs.verdict(),
        reason: Reason::NotOurs,
        service: None,
        pool: None,
        slot: None,
        backend: None,
        next_hop: None,
        steps: vec![step("service", "none", "no service listens on 192.0.2.99:80/tcp")],
    };
    golden("explain", &[document::explanation(&forward), document::explanation(&pass)]);
}

#[test]
fn plans() {
    let pool = PlanPool {
        pool: "web".into(),
        added: vec!["10.0.0.13:8080".into()],
        removed: vec!["10.0.0.11:8080".into()],
        slots_moved: 21_845,
        slots: 65_537,
        live_flows_moved: 3,
    };
    let report =
        PlanReport { pools: vec![pool], services: vec!["web: idle_timeout 5m -> 1m".into()], ..PlanReport::default() };
    golden("plan", &document::plan(&report));
}

#[test]
fn faults() {
    let unknown = document::service(&view(), "wbe").expect_err("no such service");
    assert_eq!((unknown.kind, unknown.http_status()), (FaultKind::Unknown, 404));
    let refused = Fault::new(FaultKind::Refused, "started from flags; there is no file to read again");
    golden("faults", &[unknown, refused]);
}

#[test]
fn routes_and_certificates() {
    golden("routes", &document_http::routes(&view()));
    golden("route", &document_http::route(&view(), "orders").expect("a route"));
    let unknown = document_http::route(&view(), "ordres").expect_err("no such route");
    assert_eq!((unknown.kind, unknown.nearest.as_deref()), (FaultKind::Unknown, Some("orders")));
    let certificate = CertificateView {
        listener: "edge".into(),
        names: vec!["api.example.com".into()],
        issuer: Some("CN=Test".into()),
        not_after: Some("2027-01-01T00:00:00Z".into()),
        source: "file",
        path: Some("/etc/lb/api.pem".into()),
        error: None,
    };
    golden("certificates", &[document_http::certificate(&certificate)]);
    let stats = CacheStats { hits: 1, misses: 2, stored: 3, evicted: 4, entries: 5, bytes: 6 };
    golden("cache", &document_http::cache_stats(stats));
}

#[test]
fn explanations_of_requests() {
    let chance = HttpExplanation {
        verdict: "forward",
        reason: "forward".into(),
        listener: Some("edge".into()),
        route: Some("canary".into()),
        candidates: vec![HttpCandidate { pool: "web".into(), backend: "10.0.0.11:8080".into(), weight: 95 }],
        steps: vec![HttpStep { stage: "route", decision: "canary".into(), why: "the longest prefix".into() }],
        ..HttpExplanation::default()
    };
    let none = HttpExplanation {
        verdict: "respond",
        reason: "no_route".into(),
        listener: Some("edge".into()),
        status: Some(404),
        ..HttpExplanation::default()
    };
    golden("explain_request", &[document_http::explanation(&chance), document_http::explanation(&none)]);
}
