//! What one truth has that another has not, in words: for `lb plan`, the answer of `lb reload` and the log.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_dataplane::{Counters, PlanePool, PlaneState};
use lb_model::{BackendId, Name, Service};

use crate::handle::PlanPool;
use crate::overrides::Entry;
use crate::truth::Truth;

/// The pools that differ, each with what moves. `before` and `after` are the data plane's states that go with the truths.
#[must_use]
pub fn pools(truths: (&Truth, &Truth), states: (&PlaneState, &PlaneState), counters: &Counters) -> Vec<PlanPool> {
    let (old, new) = (by_pool(truths.0), by_pool(truths.1));
    let names: BTreeSet<&Name> = old.keys().chain(new.keys()).copied().collect();
    let none = Vec::new();
    let mut out = Vec::new();
    for name in names {
        let (was, is) = (old.get(name).unwrap_or(&none), new.get(name).unwrap_or(&none));
        let lacks = |list: &[Entry], e: &Entry| !list.iter().any(|o| o.address == e.address);
        let added: Vec<&Entry> = is.iter().filter(|e| lacks(was, e)).collect();
        let removed: Vec<&Entry> = was.iter().filter(|e| lacks(is, e)).collect();
        let (slots_moved, slots) = moved(states.0.pools.get(name), states.1.pools.get(name));
        let same = old.contains_key(name) == new.contains_key(name)
            && truths.0.desired.pools.get(name) == truths.1.desired.pools.get(name);
        if same && added.is_empty() && removed.is_empty() && slots_moved == 0 {
            continue;
        }
        let flows = |e: &&Entry| {
            let id = BackendId { pool: name.clone(), address: e.address.clone() };
            counters.backends.get(&id).map_or(0, |c| c.active_flows)
        };
        let words = |entries: &[&Entry]| entries.iter().map(|e| e.address.to_string()).collect();
        out.push(PlanPool {
            pool: name.to_string(),
            added: words(&added),
            removed: words(&removed),
            slots_moved,
            slots,
            live_flows_moved: removed.iter().map(flows).sum(),
        });
    }
    out
}

fn by_pool(truth: &Truth) -> BTreeMap<&Name, Vec<Entry>> {
    truth.pools().collect()
}

/// Slots of the new table that another backend owns than before, and how many slots there are. Algorithms that choose by
/// turn, load or chance own no slot, so none moves; a table of another size or another hash is compared place by place of
/// the hash's range.
fn moved(before: Option<&PlanePool>, after: Option<&PlanePool>) -> (u64, u64) {
    let owners = |p: &PlanePool| -> Vec<(IpAddr, Option<u16>)> {
        p.slots().iter().filter_map(|&i| p.members.get(i as usize)).map(|m| (m.ip, m.port)).collect()
    };
    let Some(after) = after else { return (0, 0) };
    let new = owners(after);
    let total = new.len() as u64;
    let Some(before) = before else { return (0, total) };
    if !after.algorithm.is_consistent() || !before.algorithm.is_consistent() {
        return (0, total);
    }
    if before.algorithm != after.algorithm {
        // By another hash every flow is placed anew.
        return (total, total);
    }
    let old = owners(before);
    if old.is_empty() {
        return (total, total);
    }
    let same_place = |i: usize| i * old.len() / new.len();
    let moved = new.iter().enumerate().filter(|(i, owner)| old[same_place(*i)] != **owner).count();
    (moved as u64, total)
}

/// A line for each service that differs.
#[must_use]
pub fn services(before: &Truth, after: &Truth, counters: &Counters) -> Vec<String> {
    let (old, new) = (&before.desired.services, &after.desired.services);
    let names: BTreeSet<&Name> = old.keys().chain(new.keys()).collect();
    let line = |name: &Name| match (old.get(name), new.get(name)) {
        (None, Some(s)) => Some(format!("{name}: added, on {} with pool '{}'", s.listen, s.pool)),
        (Some(_), None) => {
            let flows = counters.services.get(name).map_or(0, |c| c.active_flows);
            Some(format!("{name}: removed, with {flows} active flows"))
        }
        (Some(a), Some(b)) if a != b => Some(format!("{name}: changes {}", keys(a, b).join(", "))),
        _ => None,
    };
    names.into_iter().filter_map(line).collect()
}

/// The keys of a service that differ, with their values where those are short.
fn keys(a: &Service, b: &Service) -> Vec<String> {
    let mut out = Vec::new();
    let mut arrow = |key: &str, differs: bool, from: String, to: String| {
        if differs {
            out.push(format!("{key} from {from} to {to}"));
        }
    };
    arrow("listen", a.listen != b.listen, a.listen.to_string(), b.listen.to_string());
    arrow("pool", a.pool != b.pool, a.pool.to_string(), b.pool.to_string());
    arrow("forward", a.forward != b.forward, a.forward.to_string(), b.forward.to_string());
    let duration = |d| lb_config::DurationText(d).to_string();
    let (idle, drain) = (a.idle_timeout != b.idle_timeout, a.drain_timeout != b.drain_timeout);
    arrow("idle_timeout", idle, duration(a.idle_timeout), duration(b.idle_timeout));
    arrow("drain_timeout", drain, duration(a.drain_timeout), duration(b.drain_timeout));
    let others = [
        ("affinity", a.affinity != b.affinity),
        ("mss_clamp", a.mss_clamp != b.mss_clamp),
        ("allow", a.allow != b.allow),
        ("deny", a.deny != b.deny),
        ("rate_limit", a.rate_limit != b.rate_limit),
        ("send_proxy", a.send_proxy != b.send_proxy),
    ];
    out.extend(others.iter().filter(|(_, differs)| *differs).map(|(key, _)| (*key).to_owned()));
    out
}

/// The pools' differences as lines.
#[must_use]
pub fn lines(pools: &[PlanPool]) -> Vec<String> {
    let line = |p: &PlanPool| {
        let mut parts = Vec::new();
        parts.extend(p.added.iter().map(|a| format!("adds {a}")));
        parts.extend(p.removed.iter().map(|a| format!("removes {a}")));
        if p.slots_moved > 0 {
            parts.push(format!("moves {} of {} slots", p.slots_moved, p.slots));
        }
        if parts.is_empty() {
            parts.push("changes settings".to_owned());
        }
        format!("pool '{}': {}", p.pool, parts.join(", "))
    };
    pools.iter().map(line).collect()
}
