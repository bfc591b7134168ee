//! Names: given once, and known where they are used; backends once in a pool; not more of anything than there is room.

use std::collections::HashMap;

use lb_common::pool::{MAX_BACKENDS, MAX_MEMBERS, MAX_POOLS, MAX_SERVICES};
use lb_model::Name;

use super::Pools;
use crate::nearest::nearest;
use crate::read::{Draft, DraftPool};
use crate::report::{Problem, Report};
use crate::source::Span;
use crate::table::Table;

pub(super) fn check<'a>(draft: &'a Draft, report: &mut Report<'_>) -> Pools<'a> {
    let names = |tables: &mut dyn Iterator<Item = (Option<&'a Name>, &'a Table)>| -> Vec<(&'a Name, Span)> {
        tables.filter_map(|(name, table)| Some((name?, table.place("name")))).collect()
    };
    unique("pool", &names(&mut draft.pools.iter().map(|p| (p.name.as_ref(), &p.table))), report);
    unique("service", &names(&mut draft.services.iter().map(|s| (s.name.as_ref(), &s.table))), report);
    unique("listener", &names(&mut draft.listeners.iter().map(|l| (l.name.as_ref(), &l.table))), report);
    unique("route", &names(&mut draft.routes.iter().map(|r| (r.name.as_ref(), &r.table))), report);
    room("pools", MAX_POOLS, draft.pools.get(MAX_POOLS as usize).map(|p| &p.table), report);
    room("services", MAX_SERVICES, draft.services.get(MAX_SERVICES as usize).map(|s| &s.table), report);
    for pool in &draft.pools {
        backends(pool, report);
    }
    let mut total = 0;
    let beyond = draft.pools.iter().find(|p| {
        total += p.written;
        total > MAX_BACKENDS as usize
    });
    room("backends in all", MAX_BACKENDS, beyond.map(|p| &p.table), report);
    let mut pools = Pools::new();
    for pool in &draft.pools {
        if let Some(name) = &pool.name {
            pools.entry(name.as_str()).or_insert(pool);
        }
    }
    references(draft, &pools, report);
    pools
}

fn unique(what: &str, names: &[(&Name, Span)], report: &mut Report<'_>) {
    let mut first: HashMap<&Name, &Span> = HashMap::new();
    for (name, place) in names {
        if let Some(earlier) = first.get(name) {
            let problem = Problem::new(format!("there are two {what}s named '{name}'"));
            let line = report.line(earlier);
            report.error(place.clone(), problem.hint(format!("the first is on {line}; rename one of them")));
        } else {
            first.insert(name, place);
        }
    }
}

fn room(what: &str, most: u32, beyond: Option<&Table>, report: &mut Report<'_>) {
    if let Some(table) = beyond {
        report.error(table.span.clone(), Problem::new(format!("there are more than {most} {what}")));
    }
}

fn backends(pool: &DraftPool, report: &mut Report<'_>) {
    if pool.written > MAX_MEMBERS as usize {
        let problem = Problem::new(format!("{} backends are more than the {MAX_MEMBERS} of one pool", pool.written));
        report.error(pool.table.place("backends"), problem.hint("spread them over several pools"));
    }
    let mut first = HashMap::new();
    for backend in &pool.backends {
        let earlier: &mut Option<Span> = first.entry(&backend.address).or_default();
        if let Some(earlier) = earlier {
            let problem = Problem::new(format!("the backend {} is here a second time", backend.address));
            let line = report.line(earlier);
            report.error(
                backend.place.clone(),
                problem.hint(format!("the first is on {line}; give it a weight instead")),
            );
        } else {
            *earlier = Some(backend.place.clone());
        }
    }
}

fn references(draft: &Draft, pools: &Pools<'_>, report: &mut Report<'_>) {
    // What is meant may be the one whose name could not be read.
    if draft.pools.iter().all(|p| p.name.is_some()) {
        let known: Vec<&str> = pools.keys().copied().collect();
        let by_services = draft.services.iter().filter_map(|s| Some((s.pool.as_ref()?, s.table.place("pool"))));
        let by_routes = draft.routes.iter().flat_map(|r| &r.pools).map(|p| (&p.value, p.span.clone()));
        refer("pool", &known, by_services.chain(by_routes), report);
    }
    if draft.listeners.iter().all(|l| l.name.is_some()) {
        let known: Vec<&str> = draft.listeners.iter().filter_map(|l| l.name.as_ref()).map(Name::as_str).collect();
        let by_routes = draft.routes.iter().flat_map(|r| &r.listeners).map(|l| (&l.value, l.span.clone()));
        refer("listener", &known, by_routes, report);
    }
}

fn refer<'a>(what: &str, known: &[&str], used: impl Iterator<Item = (&'a Name, Span)>, report: &mut Report<'_>) {
    for (name, place) in used.filter(|(name, _)| !known.contains(&name.as_str())) {
        let problem = Problem::new(format!("there is no {what} named '{name}'"));
        let hint = match nearest(name.as_str(), known.iter().copied()) {
            Some(near) => format!("did you mean '{near}'?"),
            None if known.is_empty() => format!("add [[{what}]] with name = \"{name}\""),
            None => format!("there are: {}", few(known)),
        };
        report.error(place, problem.hint(hint));
    }
}

fn few(known: &[&str]) -> String {
    let mut names = known.to_vec();
    names.sort_unstable();
    let rest = if names.len() > 8 { ", …" } else { "" };
    format!("{}{rest}", names[..names.len().min(8)].join(", "))
}
