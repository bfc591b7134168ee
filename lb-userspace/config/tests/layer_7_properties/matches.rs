//! Matches of routes, by chance.

use std::collections::BTreeSet;

use http::Method;
use lb_model::http::{HostPattern, Match, PathPattern, Segment, ValueMatch};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::text::{field_value, host, prefix};

fn host_pattern() -> impl Strategy<Value = HostPattern> {
    prop_oneof![host().prop_map(HostPattern::Exact), "[a-z]{1,8}\\.test".prop_map(HostPattern::Wildcard)]
}

fn path_pattern() -> impl Strategy<Value = PathPattern> {
    let segments = vec(("[a-z0-9._~-]{1,4}x", any::<bool>()), 1..4).prop_map(|all| {
        let one = |(i, (text, capture)): (usize, (String, bool))| {
            if capture || i == 0 { Segment::Capture(format!("c{i}")) } else { Segment::Literal(text) }
        };
        all.into_iter().enumerate().map(one).collect::<Vec<_>>()
    });
    prop_oneof![
        "(/[a-z0-9~;=@-]{0,4}){1,3}".prop_map(PathPattern::Exact),
        "(/[a-z0-9~;=@-]{0,4}){0,3}".prop_map(PathPattern::Prefix),
        (segments, any::<bool>()).prop_map(|(segments, rest)| PathPattern::Pattern { segments, rest }),
    ]
}

fn value() -> impl Strategy<Value = ValueMatch> {
    // The asterisk alone means what `Present` does.
    prop_oneof![Just(ValueMatch::Present), field_value().prop_filter("*", |v| v != "*").prop_map(ValueMatch::Exact)]
}

pub(crate) fn matching() -> impl Strategy<Value = Match> {
    let methods = subsequence(vec!["GET", "POST", "PURGE", "X-Y"], 0..4);
    let cookie = prop_oneof![Just(ValueMatch::Present), "[a-z0-9%/=]{0,5}".prop_map(ValueMatch::Exact)];
    let fields = (
        btree_map("x-[a-z]{1,5}", value(), 0..3),
        btree_map("\\PC{1,5}", value(), 0..3),
        btree_map("[a-zA-Z]{1,5}", cookie, 0..3),
    );
    let hosts = vec(host_pattern(), 0..3);
    (hosts, option::of(path_pattern()), methods, fields, vec(prefix(), 0..3)).prop_map(
        |(mut hosts, path, methods, (headers, query, cookies), source)| {
            let mut seen = BTreeSet::new();
            hosts.retain(|h| seen.insert(h.clone()));
            let method = |m: &str| Method::from_bytes(m.as_bytes()).expect("a method");
            let named = |(n, v): (String, ValueMatch)| (n.parse().expect("a field's name"), v);
            Match {
                hosts,
                path,
                methods: methods.into_iter().map(method).collect(),
                headers: headers.into_iter().map(named).collect(),
                query: query.into_iter().collect(),
                cookies: cookies.into_iter().collect(),
                source,
            }
        },
    )
}
