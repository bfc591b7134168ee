//! The configuration as requests meet it: per listener a compiled table and compiled routes, swapped whole.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use lb_cache::Cache;
use lb_certs::ServerTls;
use lb_model::Name;
use lb_model::http::{Listener, Route, Target, UpstreamProtocol};
use lb_routing::Table;
use lb_upstream::{PoolHandle, Prepared, RetryBudget};

use crate::plan::HttpPlan;
use crate::stage::mirror::Share;
use crate::stage::refuse::Pages;
use crate::stage::respond::{Backends, Face};
use crate::stage::split::Split;
use crate::stats::Ids;

/// A listener's place in the process: stays while the listener does, whatever it is configured to be.
#[derive(Debug)]
pub(crate) struct Place {
    pub site: ArcSwap<Site>,
    /// `None`: clear text.
    pub tls: ArcSwapOption<ServerTls>,
}

impl Place {
    /// Some certificate is for this host.
    pub(crate) fn covers(&self, host: &str) -> bool {
        self.tls.load().as_ref().is_none_or(|t| t.covers(host))
    }
}

/// A listener as configured now.
#[derive(Debug)]
pub(crate) struct Site {
    pub listener: Arc<Listener>,
    /// In counts.
    pub id: u32,
    pub table: Table,
    /// As the table's indices say.
    pub roads: Vec<Arc<Road>>,
    pub face: Face,
}

/// A route, ready to be taken.
#[derive(Debug)]
pub(crate) struct Road {
    pub route: Arc<Route>,
    /// In counts.
    pub id: u32,
    pub aim: Aim,
    pub budget: RetryBudget,
    pub pages: Pages,
    /// Set before the route is in force.
    pub cache: OnceLock<Arc<Cache>>,
    pub mirror: Option<(Share, Pooled)>,
}

#[derive(Debug)]
pub(crate) enum Aim {
    Pool(Pooled),
    Split(Split, Vec<Pooled>),
    /// Redirect, respond, files: what the route itself says.
    Here,
}

/// A pool as a route uses it.
#[derive(Clone, Debug)]
pub(crate) struct Pooled {
    pub name: Name,
    /// In counts.
    pub id: u32,
    pub handle: Arc<PoolHandle>,
    pub backends: Arc<Backends>,
    /// Spoken to in HTTP/2.
    pub h2: bool,
}

/// Compiles every route. Names in counts are given out on the way; nothing else changes.
///
/// # Errors
/// All files that cannot be read, and pools that are not in the plan.
pub(crate) fn roads(plan: &HttpPlan, prepared: &Prepared, ids: &Ids) -> Result<Vec<Arc<Road>>, Vec<String>> {
    let mut faults = Vec::new();
    let mut roads = Vec::with_capacity(plan.routes.len());
    for route in &plan.routes {
        match road(plan, route, prepared, ids) {
            Ok(road) => roads.push(Arc::new(road)),
            Err(why) => faults.push(format!("route '{}': {why}", route.name)),
        }
    }
    if faults.is_empty() { Ok(roads) } else { Err(faults) }
}

fn road(plan: &HttpPlan, route: &Arc<Route>, prepared: &Prepared, ids: &Ids) -> Result<Road, String> {
    let pooled = |name: &Name| {
        let pool = plan.pools.get(name).ok_or_else(|| format!("there is no pool '{name}'"))?;
        let handle = prepared.pool(name).ok_or_else(|| format!("there is no pool '{name}'"))?;
        Ok::<_, String>(Pooled {
            name: name.clone(),
            id: ids.pool(name),
            handle,
            backends: Arc::new(Backends::new(pool, route.rewrite.host.as_deref())),
            h2: pool.http.protocol != UpstreamProtocol::H1,
        })
    };
    let aim = match &route.target {
        Target::Pool(name) => Aim::Pool(pooled(name)?),
        Target::Split(parts) => {
            let weights: Vec<u32> = parts.iter().map(|(_, weight)| *weight).collect();
            let pools = parts.iter().map(|(name, _)| pooled(name)).collect::<Result<_, _>>()?;
            Aim::Split(Split::new(&weights), pools)
        }
        Target::Redirect { .. } | Target::Respond { .. } => Aim::Here,
        Target::Files { root } => {
            readable(root)?;
            Aim::Here
        }
    };
    let mirror = match &route.mirror {
        Some(mirror) => Some((Share::new(mirror.percent), pooled(&mirror.pool)?)),
        None => None,
    };
    Ok(Road {
        id: ids.route(&route.name),
        aim,
        budget: RetryBudget::new(route.retry.budget_percent),
        pages: Pages::load(&route.errors)?,
        cache: OnceLock::new(),
        mirror,
        route: Arc::clone(route),
    })
}

fn readable(root: &Path) -> Result<(), String> {
    match std::fs::metadata(root) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(format!("{} is no folder", root.display())),
        Err(e) => Err(format!("{}: {e}", root.display())),
    }
}

/// One listener's part of the plan.
pub(crate) fn site(listener: &Arc<Listener>, roads: &[Arc<Road>], ids: &Ids) -> Site {
    let roads: Vec<Arc<Road>> = roads.iter().filter(|r| r.route.is_on(&listener.name)).cloned().collect();
    let routes: Vec<Arc<Route>> = roads.iter().map(|r| Arc::clone(&r.route)).collect();
    Site {
        id: ids.listener(&listener.name),
        table: Table::new(&routes),
        roads,
        face: Face::new(listener),
        listener: Arc::clone(listener),
    }
}
