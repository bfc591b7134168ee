//! Routes, by chance.

use http::{HeaderName, HeaderValue, StatusCode};
use lb_model::StatusRange;
use lb_model::http::{
    Cache, Coding, Compress, DiskCache, Mirror, PathPattern, PathRewrite, Piece, Retry, Rewrite, Route, RouteTimeouts,
    Target, Template, UnsafeEscape,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::matches::matching;
use super::text::{field_name, field_value, host, millis, name, path};

/// With captures that are always there, and the pattern's.
fn template(first: &str, known: &Option<PathPattern>) -> impl Strategy<Value = Template> + use<> {
    let mut pieces = vec![Piece::Host, Piece::Path, Piece::Literal("%20a".to_owned())];
    pieces.extend(known.iter().flat_map(PathPattern::captures).map(|c| Piece::Capture(c.to_owned())));
    let first = Piece::Literal(first.to_owned());
    vec(select(pieces), 0..4).prop_map(move |mut rest| {
        rest.dedup();
        rest.insert(0, first.clone());
        let joins = matches!(rest.get(1), Some(Piece::Literal(_)));
        if joins {
            rest.remove(1);
        }
        Template { pieces: rest }
    })
}

fn target(known: &Option<PathPattern>) -> impl Strategy<Value = Target> + use<> {
    let status = select(vec![301u16, 302, 303, 307, 308]).prop_map(|s| StatusCode::from_u16(s).expect("a status"));
    let answer = select(vec![200u16, 404, 503]).prop_map(|s| StatusCode::from_u16(s).expect("a status"));
    let headers = btree_map("x-[a-z]{1,5}", vec(field_value(), 1..3), 0..3).prop_map(|all| {
        let pairs = all.into_iter().flat_map(|(n, values)| values.into_iter().map(move |v| (n.clone(), v)));
        let one = |(n, v): (String, String)| {
            (n.parse::<HeaderName>().expect("a name"), HeaderValue::from_str(&v).expect("a value"))
        };
        pairs.map(one).collect::<Vec<_>>()
    });
    prop_oneof![
        Just(Target::Pool("x".parse().expect("a name"))),
        (0..100u32, 1..100u32).prop_map(|(a, b)| Target::Split(vec![
            ("x".parse().expect("a name"), a),
            ("y".parse().expect("a name"), b)
        ])),
        (template("https://a", known), status).prop_map(|(to, status)| Target::Redirect { to, status }),
        (answer, template("{\n\"é'", known), headers).prop_map(|(status, body, headers)| Target::Respond {
            status,
            body,
            headers
        }),
        path().prop_map(|root| Target::Files { root }),
    ]
}

fn rewrite(known: &Option<PathPattern>) -> impl Strategy<Value = Rewrite> + use<> {
    let prefix = matches!(known, Some(PathPattern::Prefix(_) | PathPattern::Pattern { rest: true, .. }));
    let path = prop_oneof![
        "(/[a-z]{1,4}){1,2}".prop_map(|p| Some(PathRewrite::Strip(p))),
        "(/[a-z]{0,4}){1,2}".prop_map(move |p| prefix.then_some(PathRewrite::ReplacePrefix(p))),
        template("/n", known).prop_map(|t| Some(PathRewrite::Path(t))),
        Just(None),
    ];
    (path, option::of(host())).prop_map(|(path, host)| Rewrite { path, host })
}

fn cache() -> impl Strategy<Value = Cache> {
    let disk = (path(), 1_048_576..1u64 << 50).prop_map(|(path, size)| DiskCache { path, size });
    let times = (millis(0, 86_400_000), millis(0, 86_400_000));
    (1024..1u64 << 50, 1..1024u64, times, field_name(), option::of(disk)).prop_map(
        |(max_size, max_object, times, tags, disk)| Cache {
            max_size,
            max_object,
            stale_while_revalidate: times.0,
            stale_if_error: times.1,
            tags,
            disk,
        },
    )
}

fn compress() -> impl Strategy<Value = Compress> {
    let words = subsequence(Coding::ALL.to_vec(), 1..=3).prop_shuffle();
    let types = btree_set("[a-z]{1,5}/(\\*|[a-z+.]{1,5})", 1..4);
    let own = (words, any::<u32>(), types).prop_map(|(algorithms, min_size, types)| Compress {
        algorithms,
        min_size: min_size.into(),
        types: types.into_iter().collect(),
    });
    prop_oneof![Just(Compress::default()), own]
}

pub(crate) fn route() -> impl Strategy<Value = Route> {
    let parts = matching().prop_flat_map(|m| (target(&m.path), rewrite(&m.path), Just(m)));
    let times = (millis(1, 86_400_000), millis(1, 86_400_000), millis(1, 3_600_000));
    let status = (400..600u16, 0..50u16).prop_map(|(first, more)| StatusRange { first, last: (first + more).min(599) });
    let retry = (0..=100u32, 0..=100u8, vec(status, 0..3));
    let sizes = (option::of(1..1u64 << 50), option::of(compress()), option::of(cache()), option::of(1..=100u8));
    let lists = (
        btree_map(400..600u16, path(), 0..3),
        subsequence(vec!["websocket", "foo/2", "tls"], 0..3),
        subsequence(UnsafeEscape::ALL.to_vec(), 0..=3).prop_shuffle(),
    );
    (name(), parts, times, retry, (sizes, lists)).prop_map(|(name, (target, rewrite, matching), times, retry, rest)| {
        let mut r = Route::new(name, target);
        r.matching = matching;
        r.rewrite = rewrite;
        r.timeouts = RouteTimeouts { request: times.0, idle: times.1, connect: times.2 };
        r.retry = Retry { attempts: retry.0, budget_percent: retry.1, on: retry.2 };
        let ((max_body, compress, cache, mirror), (errors, upgrade, path_unsafe)) = rest;
        (r.max_body, r.compress, r.cache) = (max_body, compress, cache);
        let pooled = matches!(r.target, Target::Pool(_) | Target::Split(_));
        r.mirror = mirror.filter(|_| pooled).map(|percent| Mirror { pool: r.name.clone(), percent });
        r.errors = errors;
        r.upgrade = upgrade.into_iter().map(str::to_owned).collect();
        r.path_unsafe = path_unsafe;
        r
    })
}
