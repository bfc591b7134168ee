//! Every route of a table in the words of `lb explain`: which won, which would have, and which did not match and why.

use std::collections::HashSet;
use std::sync::Arc;

use lb_model::http::{HostPattern, PathPattern, Route};

use crate::conditions;
use crate::head::Head;
use crate::paths::holds;
use crate::table::Table;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Won,
    /// It matches, but another comes first.
    Lost(String),
    NotMatched(String),
}

#[derive(Clone, Debug)]
pub struct Considered {
    pub route: Arc<Route>,
    pub outcome: Outcome,
}

impl Table {
    /// Routes in the order of precedence for this request; those for other hosts last, in the file's order.
    #[must_use]
    pub fn explain(&self, head: &Head<'_>) -> Vec<Considered> {
        let mut seen = HashSet::new();
        let mut order: Vec<usize> = Vec::new();
        for paths in self.hosts(head.host) {
            order.extend(paths.in_order().iter().filter(|i| seen.insert(**i)));
        }
        order.extend((0..self.routes().len()).filter(|i| !seen.contains(i)));
        let mut winner: Option<Arc<Route>> = None;
        let mut out = Vec::new();
        for route in order.into_iter().filter_map(|i| self.routes().get(i)) {
            let outcome = match (fault(route, head), &winner) {
                (Some(why), _) => Outcome::NotMatched(why),
                (None, Some(first)) => {
                    Outcome::Lost(format!("'{}' comes first: {}", first.name, why_first(first, route, head.host)))
                }
                (None, None) => {
                    winner = Some(Arc::clone(route));
                    Outcome::Won
                }
            };
            out.push(Considered { route: Arc::clone(route), outcome });
        }
        out
    }
}

fn host_holds(pattern: &HostPattern, host: &str) -> bool {
    match pattern {
        HostPattern::Exact(name) => name == host,
        HostPattern::Wildcard(suffix) => {
            let label = host.strip_suffix(suffix.as_str()).and_then(|l| l.strip_suffix('.'));
            label.is_some_and(|l| !l.is_empty())
        }
    }
}

/// Why a route does not match, by itself.
fn fault(route: &Route, head: &Head<'_>) -> Option<String> {
    let m = &route.matching;
    if !m.hosts.is_empty() && !m.hosts.iter().any(|p| host_holds(p, head.host)) {
        let named: Vec<String> = m.hosts.iter().map(ToString::to_string).collect();
        return Some(format!("the host '{}' is not {}", head.host, named.join(" or ")));
    }
    if let Some(pattern) = m.path.as_ref().filter(|p| !holds(p, head.path)) {
        return Some(format!("the path {} does not match {pattern}", head.path));
    }
    conditions::fault(m, head)
}

/// How specific the best host pattern is: exact, or the longest wildcard, or none.
fn host_rank(route: &Route, host: &str) -> (u8, usize) {
    let rank = |p: &HostPattern| match p {
        HostPattern::Exact(_) => (2, 0),
        HostPattern::Wildcard(suffix) => (1, suffix.len()),
    };
    route.matching.hosts.iter().filter(|p| host_holds(p, host)).map(rank).max().unwrap_or((0, 0))
}

/// What of two routes that match decides, in words.
fn why_first(first: &Route, second: &Route, host: &str) -> &'static str {
    let (a, b) = (&first.matching, &second.matching);
    if host_rank(first, host) != host_rank(second, host) {
        return "its host is more specific";
    }
    match (&a.path, &b.path) {
        (Some(PathPattern::Exact(_)), Some(PathPattern::Exact(_))) => {}
        (Some(PathPattern::Exact(_)), _) => return "its path is exact",
        (Some(PathPattern::Pattern { .. }), Some(PathPattern::Pattern { .. })) if a.path != b.path => {
            return "its pattern is more specific";
        }
        (Some(PathPattern::Pattern { .. }), Some(PathPattern::Prefix(_)) | None) => return "its path is a pattern",
        (Some(PathPattern::Prefix(p)), Some(PathPattern::Prefix(q))) if p.len() != q.len() => {
            return "its prefix is longer";
        }
        (Some(PathPattern::Prefix(p)), None) if !p.is_empty() => return "its prefix is longer",
        _ => {}
    }
    match () {
        () if a.methods.is_empty() != b.methods.is_empty() => "it names methods",
        () if a.headers.len() != b.headers.len() => "it names more header fields",
        () if a.query.len() != b.query.len() => "it names more parameters",
        () if a.cookies.len() != b.cookies.len() => "it names more cookies",
        () if a.source.is_empty() != b.source.is_empty() => "it names sources",
        () => "it stands earlier in the file",
    }
}
