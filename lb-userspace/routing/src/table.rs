//! A listener's routes, compiled.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use lb_model::http::{HostPattern, Route};

use crate::head::{Captures, Head};
use crate::paths::Paths;

type ByHost = HashMap<Box<str>, Paths, FixedState>;

/// Immutable; built at each reload.
#[derive(Debug, Default)]
pub struct Table {
    routes: Vec<Arc<Route>>,
    exact: ByHost,
    /// By what follows `*.`.
    wildcard: ByHost,
    any: Option<Paths>,
}

/// A request's route.
#[derive(Clone, Debug)]
pub struct Found<'t> {
    /// In the slice that the table was made from.
    pub index: usize,
    pub route: &'t Arc<Route>,
    pub captures: Captures,
}

impl Table {
    /// Compiles routes given in the file's order.
    #[must_use]
    pub fn new(routes: &[Arc<Route>]) -> Self {
        let mut exact: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut wildcard: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut any = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            for host in &route.matching.hosts {
                let places = match host {
                    HostPattern::Exact(name) => exact.entry(name).or_default(),
                    HostPattern::Wildcard(suffix) => wildcard.entry(suffix).or_default(),
                };
                if places.last() != Some(&index) {
                    places.push(index);
                }
            }
            if route.matching.hosts.is_empty() {
                any.push(index);
            }
        }
        let compile = |by_host: HashMap<&str, Vec<usize>>| {
            by_host.into_iter().map(|(host, chosen)| (host.into(), Paths::new(routes, chosen))).collect()
        };
        Self {
            exact: compile(exact),
            wildcard: compile(wildcard),
            any: (!any.is_empty()).then(|| Paths::new(routes, any)),
            routes: routes.to_vec(),
        }
    }

    /// The route that comes first among those that match.
    #[must_use]
    pub fn find(&self, head: &Head<'_>) -> Option<Found<'_>> {
        let index = self.hosts(head.host).find_map(|paths| paths.find(&self.routes, head))?;
        let route = self.routes.get(index)?;
        Some(Found { index, route, captures: Captures::of(route, head.path) })
    }

    /// Some route names this host, or names none.
    #[must_use]
    pub fn may_serve(&self, host: &str) -> bool {
        self.hosts(host).next().is_some()
    }

    /// The compiled paths of a host, the most specific pattern's first.
    pub(crate) fn hosts<'t>(&'t self, host: &str) -> impl Iterator<Item = &'t Paths> {
        let exact = if self.exact.is_empty() { None } else { self.exact.get(host) };
        exact.into_iter().chain(self.wildcards(host)).chain(self.any.as_ref())
    }

    fn wildcards<'t>(&'t self, host: &str) -> impl Iterator<Item = &'t Paths> + use<'t> {
        let mut found = smallvec::SmallVec::<[&Paths; 2]>::new();
        let mut rest = host;
        while !self.wildcard.is_empty() {
            let Some((label, suffix)) = rest.split_once('.') else { break };
            if !label.is_empty() {
                found.extend(self.wildcard.get(suffix));
            }
            rest = suffix;
        }
        found.into_iter()
    }

    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }
}
