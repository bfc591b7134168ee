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
    // A service may mean the pool whose name is the one that could not be read.
    if draft.pools.iter().any(|p| p.name.is_none()) {
        return;
    }
    for service in &draft.services {
        let Some(name) = &service.pool else { continue };
        if pools.contains_key(name.as_str()) {
            continue;
        }
        let problem = Problem::new(format!("there is no pool named '{name}'"));
        let hint = match nearest(name.as_str(), pools.keys().copied()) {
            Some(near) => format!("did you mean '{near}'?"),
            None if pools.is_empty() => format!("add [[pool]] with name = \"{name}\""),
            None => format!("there are: {}", few(pools)),
        };
        report.error(service.table.place("pool"), problem.hint(hint));
    }
}

fn few(pools: &Pools<'_>) -> String {
    let mut names: Vec<&str> = pools.keys().copied().collect();
    names.sort_unstable();
    let rest = if names.len() > 8 { ", …" } else { "" };
    format!("{}{rest}", names[..names.len().min(8)].join(", "))
}
