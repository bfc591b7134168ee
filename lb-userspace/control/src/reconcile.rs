//! The reconciler: everything known comes in, what the data plane should be doing comes out. A pure function.

use std::net::IpAddr;

use lb_dataplane::{Condition, Member, PlanePool, PlaneState};
use lb_model::{BackendAddress, Desired, Name};

use crate::drain::{Drains, Key, Remains, Why};
use crate::health::Health;
use crate::names::Names;
use crate::overrides::Overrides;
use crate::seats::{Known, Seat};

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

/// What the data plane should be doing: services, and the pools that are of layer 4.
#[must_use]
pub fn plan_state(
    desired: &Desired,
    overrides: &Overrides,
    health: &Health,
    drains: &Drains,
    names: &Names,
) -> PlaneState {
    let known = Known { desired, health, drains, names };
    let mut state = PlaneState { services: desired.services.clone(), ..PlaneState::default() };
    for (name, pool) in desired.pools.iter().filter(|(n, _)| desired.is_in_layer_4(n)) {
        let entries = overrides.entries(desired, name).unwrap_or_default();
        let members = known.seats(pool, &entries).into_iter().map(member).collect();
        let algorithm = pool.algorithm;
        let pool = PlanePool { name: name.clone(), algorithm, maglev_table_size: pool.maglev_table_size, members };
        state.pools.insert(name.clone(), pool);
    }
    for (key, drain) in drains.iter() {
        if let Why::Leaving { remains, .. } = &drain.why
            && remains.layer_4
        {
            add_leaving(&mut state, key, remains, known.leaving(key, drain, remains));
        }
    }
    state
}

fn member(seat: Seat) -> Member {
    let condition = match (seat.expired, seat.down) {
        (true, _) => Condition::Expired,
        (false, true) => Condition::Down,
        (false, false) => Condition::Up,
    };
    let Seat { configured, ip, port, weight, eligible, .. } = seat;
    Member { configured, ip, port, weight, eligible, condition }
}

/// Members that their pool no longer has and that still carry flows, at the end of its list; the pool itself, if it
/// is gone too.
fn add_leaving(state: &mut PlaneState, key: &Key, remains: &Remains, seats: Vec<Seat>) {
    let name: &Name = &key.backend.pool;
    let pool = state.pools.entry(name.clone()).or_insert_with(|| PlanePool {
        name: name.clone(),
        algorithm: remains.algorithm,
        maglev_table_size: remains.maglev_table_size,
        members: Vec::new(),
    });
    for seat in seats {
        let full = pool.members.len() >= lb_common::pool::MAX_MEMBERS as usize;
        if !full && !pool.members.iter().any(|m| m.ip == seat.ip && m.port == seat.port) {
            pool.members.push(member(seat));
        }
    }
}
