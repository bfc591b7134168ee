//! What layer 7 should be doing: everything known comes in, one [`HttpPlan`] comes out. A pure function.

use std::net::SocketAddr;
use std::sync::Arc;

use lb_gateway::{HttpPlan, MemberPlan, MemberState, PoolPlan};
use lb_model::Desired;

use crate::drain::{Drains, Why};
use crate::health::Health;
use crate::names::Names;
use crate::overrides::Overrides;
use crate::seats::{Known, Seat};

/// Listeners and routes as desired, and every pool that a route names, with what leaves it at the end of its list. A pool
/// that no route names any more stays as long as something leaves it.
#[must_use]
pub fn http_plan(
    desired: &Desired,
    overrides: &Overrides,
    health: &Health,
    drains: &Drains,
    names: &Names,
) -> HttpPlan {
    let known = Known { desired, health, drains, names };
    let mut plan = HttpPlan {
        listeners: desired.listeners.iter().map(|(n, l)| (n.clone(), Arc::new(l.clone()))).collect(),
        routes: desired.routes.iter().map(|r| Arc::new(r.clone())).collect(),
        ..HttpPlan::default()
    };
    let mut pools = std::collections::BTreeMap::new();
    for (name, pool) in desired.pools.iter().filter(|(n, _)| desired.is_in_layer_7(n)) {
        let entries = overrides.entries(desired, name).unwrap_or_default();
        let members = known.seats(pool, &entries).into_iter().filter_map(member).collect();
        let (http, maglev_table_size) = (pool.http.clone(), pool.maglev_table_size);
        pools.insert(name.clone(), PoolPlan { name: name.clone(), http, maglev_table_size, members });
    }
    for (key, drain) in drains.iter() {
        let Why::Leaving { remains, .. } = &drain.why else { continue };
        let Some(http) = &remains.http else { continue };
        let name = &key.backend.pool;
        let pool = pools.entry(name.clone()).or_insert_with(|| PoolPlan {
            name: name.clone(),
            http: (**http).clone(),
            maglev_table_size: remains.maglev_table_size,
            members: Vec::new(),
        });
        for leaving in known.leaving(key, drain, remains).into_iter().filter_map(member) {
            let full = pool.members.len() >= lb_common::pool::MAX_MEMBERS as usize;
            if !full && !pool.members.iter().any(|m| m.address == leaving.address) {
                pool.members.push(leaving);
            }
        }
    }
    plan.pools = pools.into_iter().map(|(n, p)| (n, Arc::new(p))).collect();
    plan
}

/// A backend without a port is for services that keep the packet's; no request can be sent there.
fn member(seat: Seat) -> Option<MemberPlan> {
    let state = match &seat {
        Seat { expired: true, .. } => MemberState::Expired,
        Seat { draining: true, .. } => MemberState::Draining,
        Seat { down: true, .. } => MemberState::Down,
        _ => MemberState::Up,
    };
    Some(MemberPlan {
        address: SocketAddr::new(seat.ip, seat.port?),
        configured: seat.configured,
        weight: seat.weight.get(),
        backup: seat.backup,
        eligible: seat.eligible,
        state,
    })
}

/// The plan with every part that is as it was before taken from there, so that what has not changed can be told by its
/// pointer.
#[must_use]
pub fn sharing(mut plan: HttpPlan, before: &HttpPlan) -> HttpPlan {
    fn keep<T: PartialEq>(new: &mut Arc<T>, old: Option<&Arc<T>>) {
        if let Some(old) = old.filter(|o| ***o == **new) {
            *new = Arc::clone(old);
        }
    }
    plan.listeners.iter_mut().for_each(|(name, l)| keep(l, before.listeners.get(name)));
    plan.pools.iter_mut().for_each(|(name, p)| keep(p, before.pools.get(name)));
    for route in &mut plan.routes {
        let old = before.routes.iter().find(|r| r.name == route.name);
        keep(route, old);
    }
    plan
}
