//! Nanoseconds a look-up takes, by number of routes: `cargo run --release -p lb-routing --example lookup_time`.

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method};
use lb_model::http::{HostPattern, PathPattern, Route, Segment, Target};
use lb_routing::{Head, Table};

const ROUNDS: u32 = 200_000;

fn routes(count: usize) -> Vec<Arc<Route>> {
    let one = |i: usize| {
        let pool = "p".parse().expect("a name");
        let mut route = Route::new(format!("r{i}").parse().expect("a name"), Target::Pool(pool));
        let tenant = i / 10;
        route.matching.hosts = vec![HostPattern::Exact(format!("t{tenant}.example.com"))];
        let literal = |s: String| Segment::Literal(s);
        route.matching.path = Some(match i % 3 {
            0 => PathPattern::Exact(format!("/api/v1/thing{i}")),
            1 => PathPattern::Prefix(format!("/api/v1/area{i}")),
            _ => PathPattern::Pattern {
                segments: vec![literal("api".into()), literal(format!("kind{i}")), Segment::Capture("id".into())],
                rest: false,
            },
        });
        Arc::new(route)
    };
    (0..count).map(one).collect()
}

#[expect(clippy::disallowed_methods, reason = "this program measures time")]
fn main() {
    for count in [10, 100, 1_000, 10_000] {
        let routes = routes(count);
        let begun = std::time::Instant::now();
        let table = Table::new(&routes);
        let built = begun.elapsed();
        let headers = HeaderMap::new();
        let last = count - 1;
        let asks = [last - last % 3, last - (last + 2) % 3, last - (last + 1) % 3].map(|i| {
            let path = match i % 3 {
                0 => format!("/api/v1/thing{i}"),
                1 => format!("/api/v1/area{i}/x/y"),
                _ => format!("/api/kind{i}/42"),
            };
            (format!("t{}.example.com", i / 10), path)
        });
        let begun = std::time::Instant::now();
        for _ in 0..ROUNDS {
            for (host, path) in &asks {
                let source = IpAddr::from([10, 0, 0, 1]);
                let head = Head { host, path, query: None, method: &Method::GET, headers: &headers, source };
                assert!(black_box(table.find(black_box(&head))).is_some());
            }
        }
        let each = begun.elapsed().as_nanos() / (u128::from(ROUNDS) * 3);
        println!("{count:>6} routes: built in {built:?}, {each} ns a look-up");
    }
}
