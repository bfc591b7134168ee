//! Explanations of requests to a small site.

use super::*;
use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName};
use lb_model::http::{
    Certificate, CertificateSource, HostPattern, HttpPool, Listener, Match, PathPattern, PathRewrite, Route, Template,
};
use lb_upstream::Upstreams;
use lb_upstream::plan::PoolPlan;

use crate::plan::HttpPlan;
use crate::snapshot;
use crate::stats::Ids;

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn prefix(text: &str) -> Match {
    Match { path: Some(PathPattern::Prefix(text.to_owned())), ..Match::default() }
}

fn routes() -> Vec<Route> {
    let mut api = Route::new(name("api"), Target::Pool(name("web")));
    api.matching = prefix("/api");
    api.rewrite.path = Some(PathRewrite::Strip("/api".to_owned()));
    api.max_body = Some(10);
    let mut split = Route::new(name("parted"), Target::Split(vec![(name("web"), 90), (name("one"), 10)]));
    split.matching = prefix("/split");
    let to = Template::parse("https://{host}{path}").expect("a template");
    let mut moved = Route::new(name("moved"), Target::Redirect { to, status: StatusCode::PERMANENT_REDIRECT });
    moved.matching = prefix("/moved");
    let mut gone = Route::new(name("gone"), Target::Pool(name("none")));
    gone.matching = prefix("/gone");
    vec![api, split, moved, gone]
}

fn sites() -> Vec<Arc<Site>> {
    let pool = |n: &str| {
        let plan = PoolPlan { name: name(n), http: HttpPool::default(), maglev_table_size: 65537, members: Vec::new() };
        (name(n), Arc::new(plan))
    };
    let plan = HttpPlan {
        listeners: BTreeMap::new(),
        routes: routes().into_iter().map(Arc::new).collect(),
        pools: ["web", "one", "none"].map(pool).into(),
    };
    let ids = Ids::default();
    let prepared = Upstreams::new([0; 32]).prepare(&plan.pools).expect("prepared");
    let roads = snapshot::roads(&plan, &prepared, &ids).expect("roads");
    [("edge", 80), ("admin", 8080)]
        .map(|(n, port)| {
            let listener = Listener::new(name(n), (Ipv4Addr::LOCALHOST, port).into());
            Arc::new(snapshot::site(&Arc::new(listener), &roads, &ids))
        })
        .to_vec()
}

fn choose(pool: &Name, _: &Ask<'_>) -> Option<Choice> {
    let member = |last: u8, weight| {
        let address = std::net::SocketAddr::from(([10, 0, 0, last], 8080));
        Candidate { configured: address.into(), address, weight }
    };
    Some(Choice::Any(match pool.as_str() {
        "web" => vec![member(1, 1), member(2, 3)],
        "one" => vec![member(9, 1)],
        _ => Vec::new(),
    }))
}

fn ask(method: &str, url: &str, fields: &[(&str, &str)]) -> HttpExplanation {
    let headers: HeaderMap = fields
        .iter()
        .map(|(n, v)| (n.parse::<HeaderName>().expect("a name"), v.parse::<HeaderValue>().expect("a value")))
        .collect();
    let request = ExplainRequest {
        method: method.parse().expect("a method"),
        url: url.to_owned(),
        headers,
        from: None,
        listener: None,
    };
    told(&request).expect("told")
}

fn told(request: &ExplainRequest) -> Result<HttpExplanation, String> {
    let sites = sites();
    let ground = Ground { sites: &sites, covers: &|_, _| true, choose: &choose, now: SystemTime::UNIX_EPOCH };
    explain(&ground, request)
}

fn candidates(told: &HttpExplanation) -> Vec<(&str, &str, u32)> {
    told.candidates.iter().map(|c| (c.pool.as_str(), c.backend.as_str(), c.weight)).collect()
}

fn decisions<'a>(told: &'a HttpExplanation, stage: &str) -> Vec<&'a str> {
    told.steps.iter().filter(|s| s.stage == stage).map(|s| s.decision.as_str()).collect()
}

#[test]
fn a_request_to_a_pool() {
    let told = ask("GET", "http://a.test/%61pi/../api/x", &[]);
    assert_eq!((told.verdict, told.reason.as_str(), told.status), ("forward", "routed", None));
    assert_eq!(
        (told.listener.as_deref(), told.route.as_deref(), told.pool.as_deref()),
        (Some("edge"), Some("api"), Some("web"))
    );
    assert_eq!(
        (told.backend.as_deref(), candidates(&told)),
        (None, vec![("web", "10.0.0.1:8080", 1), ("web", "10.0.0.2:8080", 3)])
    );
    assert_eq!(decisions(&told, "path"), ["/api/x"]);
    assert_eq!(decisions(&told, "rewrite"), ["/x"]);
    let routes = decisions(&told, "route");
    assert!(routes.contains(&"api: taken") && routes.contains(&"moved: does not match"), "{routes:?}");
}

#[test]
fn shares_of_a_split() {
    let told = ask("GET", "http://a.test/split", &[]);
    let want = vec![("web", "10.0.0.1:8080", 22), ("web", "10.0.0.2:8080", 67), ("one", "10.0.0.9:8080", 10)];
    assert_eq!((told.verdict, told.pool.clone(), candidates(&told)), ("forward", None, want));
}

#[test]
fn answers_without_a_backend() {
    let answered = |method, url, fields: &[(&str, &str)]| {
        let told = ask(method, url, fields);
        assert_eq!(told.verdict, "respond");
        (told.reason, told.status, told.route)
    };
    let want = |reason: &str, status, route: Option<&str>| (reason.to_owned(), Some(status), route.map(str::to_owned));
    assert_eq!(answered("GET", "http://a.test/moved/x", &[]), want("redirect", 308, Some("moved")));
    assert_eq!(answered("GET", "http://a.test/else", &[]), want("no_route", 404, None));
    assert_eq!(answered("GET", "http://a.test/gone", &[]), want("no_backend", 503, Some("gone")));
    assert_eq!(answered("TRACE", "http://a.test/api", &[]), want("method_not_allowed", 405, None));
    assert_eq!(answered("GET", "http://a.test/api%2fx", &[]), want("no_route", 404, None));
    assert_eq!(answered("GET", "http://a.test/api/%2fx", &[]), want("bad_request", 400, Some("api")));
    assert_eq!(answered("GET", "http://a.test/api", &[("host", "a b")]), want("bad_request", 400, None));
    assert_eq!(
        answered("POST", "http://a.test/api", &[("content-length", "11")]),
        want("body_too_large", 413, Some("api"))
    );
}

/// A listener with TLS, whose certificate is for `a.test`, and a route for that host.
fn over_tls(url: &str, host: Option<&str>) -> HttpExplanation {
    let mut plan = HttpPlan::default();
    let mut only = Route::new(name("only"), Target::Redirect { to: Template::literal("/"), status: StatusCode::FOUND });
    only.matching.hosts.extend(host.map(|h| HostPattern::Exact(h.to_owned())));
    plan.routes = vec![Arc::new(only)];
    let ids = Ids::default();
    let prepared = Upstreams::new([0; 32]).prepare(&plan.pools).expect("prepared");
    let roads = snapshot::roads(&plan, &prepared, &ids).expect("roads");
    let mut listener = Listener::new(name("edge"), (Ipv4Addr::LOCALHOST, 443).into());
    let source = CertificateSource::Files { cert: "c.pem".into(), key: "k.pem".into() };
    listener.certificates = vec![Certificate { names: Vec::new(), source }];
    let sites = [Arc::new(snapshot::site(&Arc::new(listener), &roads, &ids))];
    let covers = |_: &Name, host: &str| host == "a.test";
    let ground = Ground { sites: &sites, covers: &covers, choose: &choose, now: SystemTime::UNIX_EPOCH };
    let (method, headers) = (Method::GET, HeaderMap::new());
    explain(&ground, &ExplainRequest { method, url: url.to_owned(), headers, from: None, listener: None })
        .expect("told")
}

#[test]
fn hosts_that_are_for_another_connection() {
    let status = |url: &str, host: Option<&str>| over_tls(url, host).status;
    assert_eq!(status("https://a.test/", Some("a.test")), Some(302));
    assert_eq!(status("https://b.test/", Some("a.test")), Some(421));
    assert_eq!(status("https://b.test/", Some("b.test")), Some(421));
    assert_eq!(status("https://b.test/", None), Some(302));
}

#[test]
fn the_listener_is_told_or_asked_for() {
    assert_eq!(ask("GET", "http://a.test:8080/api", &[]).listener.as_deref(), Some("admin"));
    let mut request = ExplainRequest {
        method: Method::GET,
        url: "http://a.test:99/api".to_owned(),
        headers: HeaderMap::new(),
        from: None,
        listener: None,
    };
    let why = told(&request).expect_err("not told");
    assert!(why.contains("edge, admin"), "{why}");
    request.listener = Some("admin".to_owned());
    assert_eq!(told(&request).expect("told").listener.as_deref(), Some("admin"));
    request.listener = Some("other".to_owned());
    assert!(told(&request).expect_err("unknown").contains("no listener 'other'"));
}
