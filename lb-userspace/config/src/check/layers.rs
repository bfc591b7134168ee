//! Pools against what uses them: what only one layer has, or only one layer reads.

use std::collections::HashSet;

use lb_model::HealthKind;
use lb_model::http::HttpAlgorithm;

use super::Pools;
use crate::read::{Draft, DraftPool, DraftRoute};
use crate::report::{Problem, Report};

/// Keys of `[[pool]]` that layer 4 does not read.
const LAYER_7: [&str; 9] =
    ["protocol", "tls", "sticky", "outlier", "drain_timeout", "slow_start", "max_requests", "queue", "hash_on"];

pub(super) fn check(draft: &Draft, pools: &Pools<'_>, report: &mut Report<'_>) {
    let routed: HashSet<&str> = draft.routes.iter().flat_map(|r| &r.pools).map(|p| p.value.as_str()).collect();
    let served: HashSet<&str> = draft.services.iter().filter_map(|s| s.pool.as_ref()).map(|p| p.as_str()).collect();
    // A route that could not be read may name any pool.
    let all_known = draft.routes.iter().all(DraftRoute::pools_are_known);
    for (name, pool) in pools {
        if served.contains(name) {
            algorithm(name, pool, report);
            if !routed.contains(name) && all_known {
                unread(name, pool, report);
            }
        }
        together(pool, report);
    }
}

fn algorithm(name: &str, pool: &DraftPool, report: &mut Report<'_>) {
    let Some(written) = pool.http_algorithm.filter(|_| pool.table.is_written("algorithm")) else { return };
    if written.at_layer_4().is_some() {
        return;
    }
    let has = HttpAlgorithm::ALL.into_iter().filter(|a| a.at_layer_4().is_some()).map(HttpAlgorithm::as_str);
    let problem = Problem::new(format!("a [[service]] uses the pool '{name}', and layer 4 has no {written}"));
    let hint = format!("it has {}; or give the routes a pool of their own", has.collect::<Vec<_>>().join(", "));
    report.error(pool.table.place("algorithm"), problem.hint(hint));
}

fn unread(name: &str, pool: &DraftPool, report: &mut Report<'_>) {
    let health = pool.table.get::<crate::table::Table>("health");
    let over_tls = health.is_some_and(|h| matches!(h.get("type"), Some("https" | "grpc")));
    for key in LAYER_7 {
        if key == "tls" && over_tls {
            continue;
        }
        let Some(place) = pool.table.key_place(key) else { continue };
        let problem = Problem::new(format!("{key} does nothing here: only services use the pool '{name}'"));
        let hint = match key {
            "sticky" => "layer 4 holds a client to a backend with [[service]] affinity = \"client-ip\"",
            "drain_timeout" => "layer 4 has it in [[service]]: drain_timeout",
            "outlier" => "layer 4 asks for health: [pool.health]",
            "hash_on" => "layer 4 hashes the client's address and ports (maglev) or its address (source-hash)",
            _ => "it is for pools of a [[route]]",
        };
        report.warning(place, problem.hint(hint));
    }
    for place in pool.backends.iter().filter_map(|b| b.backup_place.clone()) {
        let problem = Problem::new(format!("backup does nothing here: only services use the pool '{name}'"));
        report.warning(place, problem.hint("at layer 4 every healthy backend gets flows; weight = 0 keeps them off"));
    }
}

/// Keys of one pool that need each other.
fn together(pool: &DraftPool, report: &mut Report<'_>) {
    let Some(http) = &pool.http else { return };
    if let (Some(place), 0, true) = (pool.table.key_place("queue"), http.max_requests, http.queue.size > 0) {
        let problem = Problem::new("queue does nothing without max_requests: there is always a place at a backend");
        report.warning(place, problem.hint("add max_requests = 100, or as many as a backend may have at once"));
    }
    if let (Some(place), Some(o)) = (pool.table.key_place("outlier"), &http.outlier)
        && (o.consecutive_errors, o.error_rate, o.latency) == (0, 0, None)
    {
        let problem = Problem::new("outlier looks at nothing, so nobody is ever ejected");
        report.warning(place, problem.hint("set consecutive_errors, error_rate or latency, or take outlier out"));
    }
    if let (Some((table, Some(check))), Some(_)) = (&pool.health, &http.tls)
        && matches!(check.kind, HealthKind::Http { .. })
        && check.port.is_none()
    {
        let problem = Problem::new("the pool's backends speak TLS, and this check asks them in clear text");
        report
            .warning(table.place("type"), problem.hint("write type = \"https\", or port = with the one that is clear"));
    }
    let hashed = matches!(http.algorithm, HttpAlgorithm::Maglev | HttpAlgorithm::RingHash | HttpAlgorithm::SourceHash);
    if let (Some(place), false) = (pool.table.key_place("hash_on"), hashed) {
        let problem = Problem::new(format!("hash_on does nothing with algorithm = \"{}\"", http.algorithm));
        report.warning(place, problem.hint("it is for source-hash, maglev and ring-hash"));
    }
    if pool.written > 0 && pool.backends.len() == pool.written && pool.backends.iter().all(|b| b.backup) {
        let problem = Problem::new("every backend is a backup, so none is");
        report.warning(pool.table.place("backends"), problem.hint("take backup out where it is not meant"));
    }
}
