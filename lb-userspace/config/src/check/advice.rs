//! What is legal and probably not meant.

use std::collections::HashSet;

use lb_model::{Algorithm, MssClamp, PlaneChoice, Weight};

use super::Pools;
use crate::read::{Draft, DraftPool, DraftRoute};
use crate::report::{Problem, Report};

pub(super) fn check(draft: &Draft, pools: &Pools<'_>, report: &mut Report<'_>) {
    let served = draft.services.iter().filter_map(|s| s.pool.as_ref());
    let routed = draft.routes.iter().flat_map(|r| &r.pools).map(|p| &p.value);
    let used: HashSet<&str> = served.chain(routed).map(|p| p.as_str()).collect();
    let mut names: Vec<&str> = pools.keys().copied().filter(|n| !used.contains(n)).collect();
    names.sort_unstable();
    // With a service or a route whose pool could not be read, it may be this one.
    let clear = draft.services.iter().all(|s| s.pool.is_some()) && draft.routes.iter().all(DraftRoute::pools_are_known);
    for name in names.into_iter().filter(|_| clear) {
        let problem = Problem::new(format!("no service and no route uses the pool '{name}'"));
        report.warning(pools[name].table.place("name"), problem);
    }
    draft.pools.iter().for_each(|pool| spread(pool, report));
    if draft.services.is_empty() && draft.listeners.is_empty() && draft.routes.is_empty() {
        let problem = Problem::new("there is no [[service]] and no [[listener]], so nothing is balanced");
        report.warning(0..0, problem.hint("add [[service]] with name, listen and pool, or [[listener]] and [[route]]"));
    }
    reach(draft, report);
}

fn spread(pool: &DraftPool, report: &mut Report<'_>) {
    let name = pool.name.as_ref().map_or("?", |n| n.as_str());
    if pool.written == 0 && pool.table.is_written("backends") {
        let problem = Problem::new(format!("pool '{name}' has no backends: packets for it are dropped as no_backend"));
        report.warning(pool.table.place("backends"), problem);
        return;
    }
    let weighty = |b: &crate::read::DraftBackend| b.weight != Weight::new(0);
    if !pool.backends.is_empty() && pool.algorithm != Some(Algorithm::RoundRobin) && !pool.backends.iter().any(weighty)
    {
        let problem = Problem::new(format!("every backend of pool '{name}' has weight 0, so it takes no new flows"));
        report.warning(pool.table.place("backends"), problem);
    }
    if pool.algorithm == Some(Algorithm::RoundRobin)
        && let Some(backend) = pool.backends.iter().find(|b| b.weight != Some(Weight::ONE) && b.weight_place.is_some())
    {
        let problem = Problem::new("round-robin ignores weights");
        let place = backend.weight_place.clone().unwrap_or_else(|| backend.place.clone());
        report.warning(place, problem.hint("use algorithm = \"weighted-round-robin\""));
    }
    slots(pool, report);
}

fn slots(pool: &DraftPool, report: &mut Report<'_>) {
    let (Some(size), true) = (pool.maglev_table_size, pool.table.is_written("maglev_table_size")) else { return };
    let wanted = u32::try_from(pool.written.saturating_mul(100)).unwrap_or(u32::MAX);
    if size < wanted {
        let prime = lb_common::maglev::prime_at_least(wanted);
        let problem = Problem::new(format!("maglev_table_size = {size} spreads {} backends unevenly", pool.written));
        report.warning(
            pool.table.place("maglev_table_size"),
            problem.hint(format!("100 slots a backend are even within a percent: {prime}")),
        );
    }
}

/// What the engine will not see, or will not do.
fn reach(draft: &Draft, report: &mut Report<'_>) {
    let userspace = match draft.host.data_plane {
        Some(plane) => plane == PlaneChoice::Userspace,
        None => return,
    };
    let on_loopback = draft.host.host.interfaces.iter().any(|i| i == "lo");
    for service in &draft.services {
        if let (Some(listen), false, false) = (service.listen, userspace, on_loopback)
            && listen.address.is_loopback()
        {
            let problem = Problem::new(format!("XDP on an interface never sees packets to {}", listen.address));
            report.warning(
                service.table.place("listen"),
                problem.hint("set [host] data_plane = \"userspace\" to serve this host itself"),
            );
        }
        if userspace && matches!(service.mss_clamp, Some(MssClamp::Bytes(_))) {
            let problem = Problem::new("the userspace data plane ends TCP itself, so there is nothing to clamp");
            report.warning(service.table.place("mss_clamp"), problem);
        }
    }
}
