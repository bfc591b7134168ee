//! What it takes to begin: time until it serves, memory and the binary's size, by number of routes; and a look-up's time.

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lb_model::http::{HostPattern, PathPattern, Route, Segment, Target};
use lb_routing::{Head, Table};
use serde_json::{Value, json};

use super::peers::Rig;
use crate::report;
use crate::spread::Spread;

const ROUTES: [usize; 3] = [1, 1_000, 10_000];

/// Cold starts, each from a file of so many routes.
pub(super) fn starts(rig: &Rig, rounds: u32) -> Result<Value> {
    let size = std::env::var_os("LB_BIN").and_then(|p| std::fs::metadata(p).ok()).map_or(0, |m| m.len());
    println!("\nThe binary: {:.1} MiB. Cold start until it serves, and resident memory then", size as f64 / 1048576.0);
    let mut rows = Vec::new();
    let mut out = Vec::new();
    for count in ROUTES {
        let (mut took, mut memory) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let begun = now();
            let running = rig.start_lb_with(&routes_text(count))?;
            took.push(begun.elapsed().as_secs_f64() * 1e3);
            memory.push(super::idle::resident(running.pid())? as f64 / 1024.0);
            running.stop()?;
        }
        let (took, memory) = (Spread::of(&took).context("no rounds")?, Spread::of(&memory).context("no rounds")?);
        rows.push(vec![
            count.to_string(),
            format!("{:.0} ({:.0}–{:.0})", took.median, took.min, took.max),
            format!("{:.1}", memory.median),
        ]);
        out.push(json!({ "routes": count, "milliseconds": took.json(), "resident_mib": memory.json() }));
    }
    report::table(&["routes", "ms until it serves", "MiB"], &rows);
    Ok(json!({ "binary_bytes": size, "starts": out }))
}

#[expect(clippy::disallowed_methods, reason = "this measures time")]
fn now() -> Instant {
    Instant::now()
}

/// Ten routes a host, a third of them exact, prefixes and patterns each.
pub(super) fn routes_text(count: usize) -> String {
    let mut text = String::new();
    for i in 0..count.saturating_sub(1) {
        let path = match i % 3 {
            0 => format!("/api/v1/thing{i}"),
            1 => format!("/api/v1/area{i}/*"),
            _ => format!("/api/kind{i}/{{id}}"),
        };
        let _ = write!(
            text,
            "[[route]]\nname = \"r{i}\"\nmatch = {{ host = \"t{}.example.com\", path = \"{path}\" }}\npool = \
             \"b\"\n\n",
            i / 10
        );
    }
    text
}

/// Nanoseconds of one look-up in tables of growing size, in this process.
pub(super) fn lookups(rounds: u32) -> Result<Value> {
    const TIMES: u32 = 100_000;
    println!("\nOne look-up by number of routes, nanoseconds (medians of rounds)");
    let mut rows = Vec::new();
    let mut out = Vec::new();
    for count in [10, 100, 1_000, 10_000] {
        let table = Table::new(&(0..count).map(route).collect::<Result<Vec<_>>>()?);
        let headers = http::HeaderMap::new();
        let asks: Vec<(String, String)> = (count - 3..count).map(ask).collect();
        let mut samples = Vec::new();
        for _ in 0..rounds {
            let begun = now();
            for _ in 0..TIMES {
                for (host, path) in &asks {
                    let source = IpAddr::from([10, 0, 0, 1]);
                    let method = &http::Method::GET;
                    let head = Head { host, path, query: None, method, headers: &headers, source };
                    black_box(table.find(black_box(&head)).context("a route is not found")?);
                }
            }
            samples.push(begun.elapsed() / (TIMES * 3));
        }
        let nanos: Vec<f64> = samples.iter().map(|d: &Duration| d.as_nanos() as f64).collect();
        let spread = Spread::of(&nanos).context("no rounds")?;
        rows.push(vec![count.to_string(), format!("{:.0} ({:.0}–{:.0})", spread.median, spread.min, spread.max)]);
        out.push(json!({ "routes": count, "nanoseconds": spread.json() }));
    }
    report::table(&["routes", "ns a look-up"], &rows);
    Ok(Value::Array(out))
}

fn route(i: usize) -> Result<Arc<Route>> {
    let mut route = Route::new(format!("r{i}").parse()?, Target::Pool("p".parse()?));
    route.matching.hosts = vec![HostPattern::Exact(format!("t{}.example.com", i / 10))];
    let literal = |s: String| Segment::Literal(s);
    route.matching.path = Some(match i % 3 {
        0 => PathPattern::Exact(format!("/api/v1/thing{i}")),
        1 => PathPattern::Prefix(format!("/api/v1/area{i}")),
        _ => PathPattern::Pattern {
            segments: vec![literal("api".into()), literal(format!("kind{i}")), Segment::Capture("id".into())],
            rest: false,
        },
    });
    Ok(Arc::new(route))
}

/// A request that the route is for: host and path.
fn ask(i: usize) -> (String, String) {
    let path = match i % 3 {
        0 => format!("/api/v1/thing{i}"),
        1 => format!("/api/v1/area{i}/x/y"),
        _ => format!("/api/kind{i}/42"),
    };
    (format!("t{}.example.com", i / 10), path)
}
