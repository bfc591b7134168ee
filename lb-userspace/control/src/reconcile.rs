//! The reconciler: everything known comes in, what the data plane should be doing comes out. A pure function.

use std::collections::HashSet;
use std::net::IpAddr;

use lb_dataplane::{Condition, Member, PlanePool, PlaneState};
use lb_model::{BackendAddress, BackendId, Desired, Name, OnAllDown, Pool};

use crate::drain::{Drain, Drains, Key, Why};
use crate::health::{Health, target};
use crate::names::Names;
use crate::overrides::{Entry, Overrides};

/// The addresses that a backend of the pool is reached at now.
#[must_use]
pub fn addresses(desired: &Desired, pool: &Name, address: &BackendAddress, names: &Names) -> Vec<IpAddr> {
    match address {
        BackendAddress::Ip { ip, .. } => vec![*ip],
        BackendAddress::Host { host, .. } => preferred(desired, pool, names.addresses(host)),
    }
}

/// Of a name's addresses those of the family that the pool's services have, if there are any: an IPv4 client is not sent
/// to the IPv6 address of a host that has both. Services of both families leave no preference.
#[must_use]
pub fn preferred(desired: &Desired, pool: &Name, all: &[IpAddr]) -> Vec<IpAddr> {
    let mut families = desired.services.values().filter(|s| s.pool == *pool).map(|s| s.listen.address.is_ipv4());
    let Some(first) = families.next().filter(|first| families.all(|f| f == *first)) else { return all.to_vec() };
    let same: Vec<IpAddr> = all.iter().copied().filter(|ip| ip.is_ipv4() == first).collect();
    if same.is_empty() { all.to_vec() } else { same }
}

/// What the data plane should be doing.
#[must_use]
pub fn plan_state(
    desired: &Desired,
    overrides: &Overrides,
    health: &Health,
    drains: &Drains,
    names: &Names,
) -> PlaneState {
    let mut state = PlaneState { services: desired.services.clone(), ..PlaneState::default() };
    for (name, pool) in &desired.pools {
        let entries = overrides.entries(desired, name).unwrap_or_default();
        let members = members(desired, pool, &entries, health, drains, names);
        let algorithm = pool.algorithm;
        let pool = PlanePool { name: name.clone(), algorithm, maglev_table_size: pool.maglev_table_size, members };
        state.pools.insert(name.clone(), pool);
    }
    for (key, drain) in drains.iter() {
        add_leaving(&mut state, desired, health, key, drain);
    }
    state
}

fn members(
    desired: &Desired,
    pool: &Pool,
    entries: &[Entry],
    health: &Health,
    drains: &Drains,
    names: &Names,
) -> Vec<Member> {
    let mut out: Vec<Member> = Vec::new();
    // A backend reached at two names is one backend: the first in the file carries it.
    let mut taken = HashSet::new();
    // Indices of those that only health keeps from new flows, or not even that.
    let mut candidates = Vec::new();
    for entry in entries {
        let id = BackendId { pool: pool.name.clone(), address: entry.address.clone() };
        let drain = drains.get(&Key::from(id));
        let port = entry.address.port();
        for ip in addresses(desired, &pool.name, &entry.address, names) {
            if !taken.insert((ip, port)) || out.len() >= lb_common::pool::MAX_MEMBERS as usize {
                continue;
            }
            let down = health.of(target(desired, pool, ip, port).as_ref()).is_down();
            let wants = entry.weight.get() > 0 && drain.is_none() && !entry.draining;
            if wants {
                candidates.push(out.len());
            }
            out.push(Member {
                configured: entry.address.clone(),
                ip,
                port,
                weight: entry.weight,
                eligible: wants && !down,
                condition: condition(drain, down),
            });
        }
    }
    let all_down = candidates.iter().all(|&i| !out[i].eligible);
    if all_down && pool.on_all_down == OnAllDown::Spread {
        for i in candidates {
            out[i].eligible = true;
            out[i].condition = Condition::Up;
        }
    }
    out
}

fn condition(drain: Option<&Drain>, down: bool) -> Condition {
    match drain {
        Some(d) if d.is_expired() => Condition::Expired,
        _ if down => Condition::Down,
        _ => Condition::Up,
    }
}

/// Members that their pool no longer has and that still carry flows, at the end of its list; the pool itself, if it
/// is gone too.
fn add_leaving(state: &mut PlaneState, desired: &Desired, health: &Health, key: &Key, drain: &Drain) {
    let Why::Leaving { remains, .. } = &drain.why else { return };
    let name: &Name = &key.backend.pool;
    let port = key.backend.address.port();
    let pool = state.pools.entry(name.clone()).or_insert_with(|| PlanePool {
        name: name.clone(),
        algorithm: remains.algorithm,
        maglev_table_size: remains.maglev_table_size,
        members: Vec::new(),
    });
    for &ip in &remains.addresses {
        let full = pool.members.len() >= lb_common::pool::MAX_MEMBERS as usize;
        if full || pool.members.iter().any(|m| m.ip == ip && m.port == port) {
            continue;
        }
        let asked = desired.pools.get(name).and_then(|p| target(desired, p, ip, port));
        let down = health.of(asked.as_ref()).is_down();
        pool.members.push(Member {
            configured: key.backend.address.clone(),
            ip,
            port,
            weight: remains.weight,
            eligible: false,
            condition: condition(Some(drain), down),
        });
    }
}
