//! `[[route]]`: everything about it that shows without looking at other tables.

mod exchange;
mod matching;
mod path;
mod rewrite;
mod target;

use lb_model::Name;
use lb_model::http::{Match, Route, Target};

use super::host_name;
use super::places::Places;
use crate::report::Report;
use crate::table::Table;
use crate::value::At;

#[derive(Debug)]
pub(crate) struct DraftRoute {
    pub(crate) table: Table,
    pub(crate) name: Option<Name>,
    /// Empty: every listener.
    pub(crate) listeners: Vec<At<Name>>,
    /// Every pool that it names, mirrors included.
    pub(crate) pools: Vec<At<Name>>,
    pub(crate) matching: Option<Match>,
    route: Option<Route>,
}

pub(crate) fn read(table: Table, places: &mut Places, report: &mut Report<'_>) -> DraftRoute {
    let name: Option<Name> = table.get("name");
    let listeners = exchange::listeners(&table, report);
    let path_unsafe = exchange::path_unsafe(&table, report);
    let inner: Option<Table> = table.get("match");
    let matching = match &inner {
        Some(t) => matching::read(t, &path_unsafe, report),
        None if table.is_written("match") => None,
        None => Some(Match::default()),
    };
    let path = matching.as_ref().map(|m| m.path.as_ref());
    let rewrite = rewrite::read(&table, path, report);
    let (target, mut pools) = target::read(&table, path, places, report);
    let mirror = exchange::mirror(&table, &mut pools, report);
    let timeouts = exchange::timeouts(&table.inner("timeout", report));
    let retry = exchange::retry(&table.inner("retry", report), report);
    let compress = exchange::compress(&table, report);
    let cache = exchange::cache(&table, places, report);
    let errors = exchange::errors(&table, places);
    let upgrade = exchange::upgrade(&table, report);
    let route = (|| {
        let mut route = Route::new(name.clone()?, target?);
        route.listeners = listeners.iter().map(|l| l.value.clone()).collect();
        route.matching = matching.clone()?;
        route.rewrite = rewrite?;
        route.timeouts = timeouts?;
        route.retry = retry?;
        route.max_body = Some(table.get::<u64>("max_body")?).filter(|n| *n > 0);
        (route.compress, route.cache, route.mirror) = (compress, cache, mirror);
        (route.errors, route.upgrade, route.path_unsafe) = (errors, upgrade, path_unsafe);
        Some(route)
    })();
    DraftRoute { table, name, listeners, pools, matching, route }
}

impl DraftRoute {
    /// It could be read which pools it sends requests to, if any.
    pub(crate) fn pools_are_known(&self) -> bool {
        !self.pools.is_empty() || ["redirect", "respond", "files"].iter().any(|key| self.table.is_written(key))
    }

    pub(crate) fn target(&self) -> Option<&Target> {
        self.route.as_ref().map(|r| &r.target)
    }

    pub(super) fn into_route(self) -> Option<Route> {
        self.route
    }
}
