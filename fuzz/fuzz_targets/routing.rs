//! Any host, path and query: normal forms are stable, a match is explained as it is found, a rewritten path is a path.
#![no_main]

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use http::{HeaderMap, Method};
use lb_model::http::{HostPattern, PathPattern, PathRewrite, Route, Segment, Target, Template, ValueMatch};
use lb_routing::{Head, Outcome, Table, host, path, rewrite};
use libfuzzer_sys::fuzz_target;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let route = |name: &str, change: &dyn Fn(&mut Route)| {
        let mut route = Route::new(name.parse().expect("a name"), Target::Pool("p".parse().expect("a name")));
        change(&mut route);
        Arc::new(route)
    };
    let literal = |s: &str| Segment::Literal(s.into());
    Table::new(&[
        route("exact", &|r| r.matching.path = Some(PathPattern::Exact("/a/b".into()))),
        route("prefix", &|r| {
            r.matching.path = Some(PathPattern::Prefix("/a".into()));
            r.rewrite.path = Some(PathRewrite::Strip("/a".into()));
        }),
        route("pattern", &|r| {
            let segments = vec![literal("u"), Segment::Capture("id".into())];
            r.matching.path = Some(PathPattern::Pattern { segments, rest: true });
            r.rewrite.path = Some(PathRewrite::Path(Template::parse("/x/{id}").expect("a template")));
        }),
        route("host", &|r| {
            r.matching.hosts = vec![HostPattern::Wildcard("test".into())];
            r.matching.query = vec![("q".into(), ValueMatch::Exact("1 2".into()))];
            r.rewrite.path = Some(PathRewrite::ReplacePrefix("/new".into()));
        }),
        route("all", &|_| {}),
    ])
});

fuzz_target!(|input: (&str, &str, Option<&str>)| {
    let (authority, raw, query) = input;
    let host = host::canonical(authority);
    if let Ok(host) = &host {
        let again = host::canonical(&host.name).expect("a canonical host is a host");
        assert_eq!(again.name, host.name);
    }
    let Ok(normal) = path::normalise(raw) else { return };
    let again = path::normalise(&normal.path).expect("a normal path is a path");
    assert_eq!(again.path, normal.path);
    // A doubtful escape in a segment that `..` took away is still refused.
    assert!(again.escapes.is_empty() || !normal.escapes.is_empty());
    assert!(normal.path.starts_with('/') && normal.path.bytes().all(|b| (0x21..0x7f).contains(&b)));
    let (method, headers) = (Method::GET, HeaderMap::new());
    let name = host.as_ref().map_or("", |h| &h.name);
    let head = Head {
        host: name,
        path: &normal.path,
        query,
        method: &method,
        headers: &headers,
        source: IpAddr::from([127, 0, 0, 1]),
    };
    let found = TABLE.find(&head).expect("the last route takes everything");
    let told = TABLE.explain(&head).into_iter().find(|c| c.outcome == Outcome::Won).expect("somebody wins");
    assert_eq!(told.route.name, found.route.name);
    let target = rewrite::path(found.route, &found.captures, &head);
    assert!(target.starts_with('/'));
    if found.route.rewrite.path.is_none() {
        assert_eq!(target, normal.path, "what is matched is what is forwarded");
    }
});
