//! Which of several routes gets a request: a table a sentence of the contract, and the compiled table against a list.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method};
use lb_model::http::{HostPattern, Match, PathPattern, Route, Segment, Target, ValueMatch};
use lb_routing::{Head, Outcome, Table};
use proptest::prelude::*;

fn path(text: &str) -> PathPattern {
    let (body, rest) = text.strip_suffix("/*").map_or((text, false), |b| (b, true));
    if !body.contains('{') {
        return if rest { PathPattern::Prefix(body.into()) } else { PathPattern::Exact(body.into()) };
    }
    let segment = |s: &str| match s.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
        Some(name) => Segment::Capture(name.into()),
        None => Segment::Literal(s.into()),
    };
    PathPattern::Pattern { segments: body[1..].split('/').map(segment).collect(), rest }
}

fn host(text: &str) -> HostPattern {
    match text.strip_prefix("*.") {
        Some(suffix) => HostPattern::Wildcard(suffix.into()),
        None => HostPattern::Exact(text.into()),
    }
}

fn route(name: &str, matching: Match) -> Arc<Route> {
    let mut route = Route::new(name.parse().expect("a name"), Target::Pool("p".parse().expect("a name")));
    route.matching = matching;
    Arc::new(route)
}

#[derive(Default)]
struct Ask<'a> {
    host: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    method: Method,
    headers: HeaderMap,
    source: Option<IpAddr>,
}

impl Ask<'_> {
    fn head(&self) -> Head<'_> {
        Head {
            host: self.host,
            path: self.path,
            query: self.query,
            method: &self.method,
            headers: &self.headers,
            source: self.source.unwrap_or(IpAddr::from([127, 0, 0, 1])),
        }
    }
}

fn winner(routes: &[Arc<Route>], ask: &Ask<'_>) -> Option<String> {
    let table = Table::new(routes);
    let found = table.find(&ask.head()).map(|f| f.route.name.to_string());
    let told = table.explain(&ask.head()).into_iter().find(|c| c.outcome == Outcome::Won);
    assert_eq!(told.map(|c| c.route.name.to_string()), found, "what is explained is what happens");
    found
}

fn by_path(patterns: &[&str], path_given: &str) -> Option<String> {
    let routes: Vec<_> = patterns
        .iter()
        .enumerate()
        .map(|(i, p)| route(&format!("r{i}"), Match { path: Some(path(p)), ..Match::default() }))
        .collect();
    let won = winner(&routes, &Ask { host: "h", path: path_given, ..Ask::default() })?;
    Some(patterns[won[1..].parse::<usize>().expect("a number")].to_owned())
}

#[test]
fn paths_rank_exact_then_pattern_then_longest_prefix() {
    let all =
        ["/*", "/users/*", "/users/{id}", "/users/me", "/users/{id}/posts", "/{a}/{b}", "/users/{id}/*", "/users/me/*"];
    for (given, pattern) in [
        ("/users/me", "/users/me"),
        ("/users/5", "/users/{id}"),
        ("/users/5/posts", "/users/{id}/posts"),
        ("/users/me/posts", "/users/{id}/posts"),
        ("/users/5/", "/users/{id}/*"),
        ("/users/5/x/y", "/users/{id}/*"),
        ("/users/me/x/y", "/users/{id}/*"),
        ("/users", "/users/*"),
        ("/users/", "/users/*"),
        ("/usersx", "/*"),
        ("/a/b", "/{a}/{b}"),
        ("/a/", "/*"),
        ("/", "/*"),
    ] {
        assert_eq!(by_path(&all, given).as_deref(), Some(pattern), "{given}");
    }
    for given in ["/a", "/a/", "/a/b"] {
        assert_eq!(by_path(&["/a/*"], given).as_deref(), Some("/a/*"));
    }
    assert_eq!(by_path(&["/a/*"], "/ab"), None);
    assert_eq!(by_path(&["/users/{id}"], "/users/"), None);
    assert_eq!(by_path(&["/a/*", "/a/b/*"], "/a/b/c").as_deref(), Some("/a/b/*"));
}

#[test]
fn hosts_rank_exact_then_longest_wildcard_then_none() {
    let named = |name: &str, hosts: &[&str]| {
        route(name, Match { hosts: hosts.iter().map(|h| host(h)).collect(), ..Match::default() })
    };
    let routes = [
        named("none", &[]),
        named("wide", &["*.test"]),
        named("narrow", &["*.a.test"]),
        named("exact", &["x.a.test", "y.test"]),
    ];
    for (given, name) in [
        ("x.a.test", "exact"),
        ("y.test", "exact"),
        ("z.a.test", "narrow"),
        ("p.q.a.test", "narrow"),
        ("a.test", "wide"),
        ("test", "none"),
        ("", "none"),
    ] {
        assert_eq!(
            winner(&routes, &Ask { host: given, path: "/", ..Ask::default() }).as_deref(),
            Some(name),
            "{given}"
        );
    }
    let table = Table::new(&routes[1..]);
    assert!(table.may_serve("x.test") && !table.may_serve("test"));
}

#[test]
fn a_specific_host_whose_routes_do_not_match_leaves_the_request_to_the_next() {
    let exact = Match { hosts: vec![host("a.test")], path: Some(path("/x")), ..Match::default() };
    let routes = [route("wild", Match { hosts: vec![host("*.test")], ..Match::default() }), route("exact", exact)];
    let ask = |path| Ask { host: "a.test", path, ..Ask::default() };
    assert_eq!(winner(&routes, &ask("/x")).as_deref(), Some("exact"));
    assert_eq!(winner(&routes, &ask("/y")).as_deref(), Some("wild"));
}

#[test]
fn more_conditions_come_first_and_the_files_order_last() {
    let field = |n: &'static str, v: &str| (HeaderName::from_static(n), ValueMatch::Exact(v.into()));
    let present = |n: &str| (n.to_owned(), ValueMatch::Present);
    let any = Match::default;
    let routes = [
        route("first", any()),
        route("second", any()),
        route("source", Match { source: vec!["10.0.0.0/8".parse().expect("a range")], ..any() }),
        route("cookie", Match { cookies: vec![present("beta")], ..any() }),
        route("query", Match { query: vec![present("debug")], ..any() }),
        route("header", Match { headers: vec![field("x-beta", "1")], ..any() }),
        route("headers", Match { headers: vec![field("x-beta", "1"), field("x-more", "2")], ..any() }),
        route("method", Match { methods: vec![Method::POST], ..any() }),
    ];
    let mut ask = Ask { host: "h", path: "/", ..Ask::default() };
    let mut wins = |change: &mut dyn FnMut(&mut Ask<'_>), name: &str| {
        change(&mut ask);
        assert_eq!(winner(&routes, &ask).as_deref(), Some(name));
    };
    wins(&mut |_| {}, "first");
    wins(&mut |a| a.source = Some(IpAddr::from([10, 1, 1, 1])), "source");
    wins(&mut |a| drop(a.headers.insert("cookie", "a=1; beta=".parse().expect("a value"))), "cookie");
    wins(&mut |a| a.query = Some("debug"), "query");
    wins(&mut |a| drop(a.headers.insert("x-beta", "1".parse().expect("a value"))), "header");
    wins(&mut |a| drop(a.headers.insert("x-more", "2".parse().expect("a value"))), "headers");
    wins(&mut |a| a.method = Method::POST, "method");
}

#[test]
fn another_method_is_no_match() {
    let routes = [route("get", Match { methods: vec![Method::GET], path: Some(path("/a")), ..Match::default() })];
    let ask = Ask { host: "h", path: "/a", method: Method::POST, ..Ask::default() };
    assert_eq!(winner(&routes, &ask), None);
    let told = Table::new(&routes).explain(&ask.head());
    assert_eq!(told[0].outcome, Outcome::NotMatched("the method POST is not GET".into()));
}

#[test]
fn captures() {
    let routes = [route("r", Match { path: Some(path("/users/{id}/posts/{post}/*")), ..Match::default() })];
    let ask = Ask { host: "h", path: "/users/a%20b/posts/7/x", ..Ask::default() };
    let table = Table::new(&routes);
    let found = table.find(&ask.head()).expect("a route");
    let get = |name| found.captures.get(found.route, name, ask.path);
    assert_eq!((get("id"), get("post"), get("x")), (Some("a%20b"), Some("7"), None));
}

fn pattern() -> impl Strategy<Value = Option<PathPattern>> {
    let text = "(/(a|b|\\{x\\})){1,3}(/\\*)?|/\\*|/";
    prop_oneof![Just(None), text.prop_map(|t: String| Some(path(&t)))]
}

fn matching() -> impl Strategy<Value = Match> {
    let host = prop::option::of(prop_oneof![Just("a.t"), Just("b.t"), Just("*.t"), Just("*.a.t")]);
    let methods = prop_oneof![3 => Just(vec![]), 1 => Just(vec![Method::GET]), 1 => Just(vec![Method::POST])];
    let query = prop_oneof![3 => Just(vec![]), 1 => Just(vec![("q".to_owned(), ValueMatch::Present)])];
    (host, pattern(), methods, query).prop_map(|(h, path, methods, query)| Match {
        hosts: h.into_iter().map(host_of).collect(),
        path,
        methods,
        query,
        ..Match::default()
    })
}

fn host_of(text: &str) -> HostPattern {
    host(text)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    /// `explain` looks at every route by itself, in the order of precedence; `find` asks indices.
    #[test]
    fn the_index_finds_what_the_list_says(
        matches in prop::collection::vec(matching(), 1..12),
        host in prop_oneof![Just("a.t"), Just("x.a.t"), Just("t"), Just("z")],
        given in "(/(a|b|c)?){1,4}",
        post in any::<bool>(),
        query in any::<bool>(),
    ) {
        let routes: Vec<_> = matches.into_iter().enumerate().map(|(i, m)| route(&format!("r{i}"), m)).collect();
        let method = if post { Method::POST } else { Method::GET };
        winner(&routes, &Ask { host, path: &given, query: query.then_some("q=1"), method, ..Ask::default() });
    }
}
