//! Routes against listeners, pools and each other.

use std::collections::HashMap;

use lb_model::http::{HostPattern, Match, PathPattern, Piece, Segment, Target};
use lb_model::{BackendAddress, Name};

use super::Pools;
use crate::read::{Draft, DraftListener, DraftRoute};
use crate::report::{Problem, Report};
use crate::table::Table;

pub(super) fn check(draft: &Draft, pools: &Pools<'_>, report: &mut Report<'_>) {
    ports(draft, pools, report);
    idle_listeners(draft, report);
    shadows(draft, report);
    draft.routes.iter().for_each(|route| covered(draft, route, report));
    draft.routes.iter().for_each(|route| circle(draft, route, report));
    draft.routes.iter().for_each(|route| useless(route, report));
}

/// Requests go to a port, so a backend of a route's pool must have one.
fn ports(draft: &Draft, pools: &Pools<'_>, report: &mut Report<'_>) {
    let mut blamed = std::collections::HashSet::new();
    for route in &draft.routes {
        for pool in route.pools.iter().filter_map(|p| pools.get(p.value.as_str())) {
            let bare = |b: &&crate::read::DraftBackend| b.address.port().is_none();
            for backend in pool.backends.iter().filter(bare).filter(|b| blamed.insert(b.place.start)) {
                let (address, name) = (&backend.address, route.name.as_ref().map_or("?", Name::as_str));
                let problem = Problem::new(format!("the backend {address} has no port, and route '{name}' needs one"));
                let with = match address {
                    BackendAddress::Ip { ip, .. } if ip.is_ipv6() => format!("[{ip}]:80"),
                    other => format!("{other}:80"),
                };
                report.error(backend.place.clone(), problem.hint(format!("for example: address = \"{with}\"")));
            }
        }
    }
}

fn idle_listeners(draft: &Draft, report: &mut Report<'_>) {
    // A route whose listener could not be read may be meant for any of them.
    let unclear = |r: &DraftRoute| r.listeners.is_empty();
    if draft.routes.iter().any(unclear) {
        if let (Some(route), true) = (draft.routes.first(), draft.listeners.is_empty()) {
            let problem = Problem::new("there is no [[listener]], so no route ever gets a request");
            report.warning(
                route.table.place("name"),
                problem.hint("add [[listener]] with name and listen = \"0.0.0.0:80\""),
            );
        }
        return;
    }
    for listener in &draft.listeners {
        let Some(name) = &listener.name else { continue };
        if !draft.routes.iter().any(|r| r.listeners.iter().any(|l| l.value == *name)) {
            let problem = Problem::new(format!("the listener '{name}' has no route: every request gets 404"));
            report.warning(listener.table.place("name"), problem.hint("add [[route]]"));
        }
    }
}

/// Over TLS a host that no certificate is for gets 421.
fn covered(draft: &Draft, route: &DraftRoute, report: &mut Report<'_>) {
    let is_on = |name: &Name| route.listeners.is_empty() || route.listeners.iter().any(|l| l.value == *name);
    let own = draft.listeners.iter().filter(|l| l.name.as_ref().is_some_and(is_on));
    let Some(names) = own.map(DraftListener::certified).collect::<Option<Vec<_>>>() else { return };
    let names: Vec<&str> = names.concat();
    let hosts = route.matching.as_ref().map_or(&[][..], |m| &m.hosts);
    let bare: Vec<&HostPattern> = hosts.iter().filter(|h| !names.iter().any(|n| certifies(n, h))).collect();
    let (Some(host), false, Some(table)) = (bare.first(), names.is_empty(), route.table.get::<Table>("match")) else {
        return;
    };
    let problem = Problem::new(format!("no certificate of its listeners is for '{host}', so such requests get 421"));
    report.warning(table.place("host"), problem.hint("add the name to a [[listener.certificate]]"));
}

/// A redirect to the URL that was asked for.
fn circle(draft: &Draft, route: &DraftRoute, report: &mut Report<'_>) {
    let Some(Target::Redirect { to, .. }) = route.target() else { return };
    let tls = match to.pieces.as_slice() {
        [Piece::Literal(scheme), Piece::Host, Piece::Path, ..] if scheme == "https://" => true,
        [Piece::Literal(scheme), Piece::Host, Piece::Path, ..] if scheme == "http://" => false,
        _ => return,
    };
    let port = if tls { 443 } else { 80 };
    let is_on = |name: &Name| route.listeners.is_empty() || route.listeners.iter().any(|l| l.value == *name);
    let itself = draft.listeners.iter().find(|l| {
        let same = l.table.is_written("certificate") == tls && l.listen.is_some_and(|a| a.port() == port);
        same && l.name.as_ref().is_some_and(is_on)
    });
    let (Some(name), Some(table)) = (itself.and_then(|l| l.name.as_ref()), route.table.get::<Table>("redirect")) else {
        return;
    };
    let problem = Problem::new(format!("on the listener '{name}' this redirects a URL to itself, without end"));
    report.warning(table.place("to"), problem.hint("add listener = \"…\" with the listeners it is meant for"));
}

/// RFC 9525 §6.3: `*` of a certificate is one label.
fn certifies(name: &str, host: &HostPattern) -> bool {
    match (name.strip_prefix("*."), host) {
        (None, HostPattern::Exact(host)) => name == host,
        (Some(base), HostPattern::Exact(host)) => host.split_once('.').is_some_and(|(_, rest)| rest == base),
        // Some names below it will do.
        (_, HostPattern::Wildcard(base)) => name.strip_suffix(base.as_str()).is_some_and(|rest| rest.ends_with('.')),
    }
}

/// Of two routes with one match the first in the file wins always.
fn shadows(draft: &Draft, report: &mut Report<'_>) {
    let mut groups: HashMap<String, Vec<&DraftRoute>> = HashMap::new();
    for route in &draft.routes {
        let Some(matching) = &route.matching else { continue };
        let group = groups.entry(form(matching)).or_default();
        if let Some(first) = group.iter().find(|first| cover(first, route)) {
            let first_name = first.name.as_ref().map_or("?", Name::as_str);
            let line = report.line(&first.table.place("name"));
            let problem =
                Problem::new(format!("route '{first_name}' has the same match, so this one never gets a request"));
            let place = route.table.key_place("match").unwrap_or_else(|| route.table.place("name"));
            report.warning(place, problem.hint(format!("that one is on {line}; the first in the file wins")));
        }
        group.push(route);
    }
}

/// Wherever the later route is, the first is too.
fn cover(first: &DraftRoute, later: &DraftRoute) -> bool {
    let is_there = |name: &Name| first.listeners.iter().any(|l| l.value == *name);
    first.listeners.is_empty() || (!later.listeners.is_empty() && later.listeners.iter().all(|l| is_there(&l.value)))
}

/// The match in a form that is equal for equal meanings: lists in order, captures without names.
fn form(matching: &Match) -> String {
    let mut m = matching.clone();
    m.hosts.sort();
    m.methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    m.source.sort();
    if let Some(PathPattern::Pattern { segments, .. }) = &mut m.path {
        for segment in segments {
            if let Segment::Capture(name) = segment {
                name.clear();
            }
        }
    }
    format!("{m:?}")
}

/// Keys about backends on a route that has none.
fn useless(route: &DraftRoute, report: &mut Report<'_>) {
    let own = ["redirect", "respond", "files"].iter().find(|key| route.table.is_written(key));
    let Some(target) = own else { return };
    for key in ["cache", "retry", "upgrade", "timeout"] {
        if let Some(place) = route.table.key_place(key) {
            let problem = Problem::new(format!("{key} does nothing on a route with {target}"));
            report.warning(place, problem.hint("it is about answers from a pool; take it out"));
        }
    }
}
