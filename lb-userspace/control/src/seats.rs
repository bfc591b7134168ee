//! A pool's backends at their addresses, with what health, weight and drains make of each: what either layer's plan is
//! made from.

use std::collections::HashSet;
use std::net::IpAddr;

use lb_model::{BackendAddress, BackendId, Desired, OnAllDown, Pool, Weight};

use crate::drain::{Drain, Drains, Key, Remains};
use crate::health::{Health, target};
use crate::names::Names;
use crate::overrides::Entry;
use crate::reconcile::addresses;

/// A backend at one address.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) configured: BackendAddress,
    pub(crate) ip: IpAddr,
    pub(crate) port: Option<u16>,
    pub(crate) weight: Weight,
    pub(crate) backup: bool,
    /// Takes what is new.
    pub(crate) eligible: bool,
    pub(crate) down: bool,
    pub(crate) draining: bool,
    /// Its drain's deadline has passed.
    pub(crate) expired: bool,
}

/// Everything known that decides about seats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) desired: &'a Desired,
    pub(crate) health: &'a Health,
    pub(crate) drains: &'a Drains,
    pub(crate) names: &'a Names,
}

impl Known<'_> {
    /// The seats of a pool's own backends, in its order.
    pub(crate) fn seats(&self, pool: &Pool, entries: &[Entry]) -> Vec<Seat> {
        let mut out: Vec<Seat> = Vec::new();
        // A backend reached at two names is one backend: the first in the file carries it.
        let mut taken = HashSet::new();
        // Indices of those that only health keeps from what is new, or not even that.
        let mut candidates = Vec::new();
        for entry in entries {
            let id = BackendId { pool: pool.name.clone(), address: entry.address.clone() };
            let drain = self.drains.get(&Key::from(id));
            let port = entry.address.port();
            for ip in addresses(self.desired, &pool.name, &entry.address, self.names) {
                if !taken.insert((ip, port)) || out.len() >= lb_common::pool::MAX_MEMBERS as usize {
                    continue;
                }
                let down = self.health.of(target(self.desired, pool, ip, port).as_ref()).is_down();
                let draining = drain.is_some() || entry.draining;
                let wants = entry.weight.get() > 0 && !draining;
                if wants {
                    candidates.push(out.len());
                }
                out.push(Seat {
                    configured: entry.address.clone(),
                    ip,
                    port,
                    weight: entry.weight,
                    backup: entry.backup,
                    eligible: wants && !down,
                    down,
                    draining,
                    expired: drain.is_some_and(Drain::is_expired),
                });
            }
        }
        let all_down = candidates.iter().all(|&i| !out[i].eligible);
        if all_down && pool.on_all_down == OnAllDown::Spread {
            for i in candidates {
                out[i].eligible = true;
                out[i].down = false;
            }
        }
        out
    }

    /// The seats of a backend that its pool no longer has and that still carries something.
    pub(crate) fn leaving(&self, key: &Key, drain: &Drain, remains: &Remains) -> Vec<Seat> {
        let port = key.backend.address.port();
        let pool = self.desired.pools.get(&key.backend.pool);
        let seat = |&ip: &IpAddr| {
            let asked = pool.and_then(|p| target(self.desired, p, ip, port));
            Seat {
                configured: key.backend.address.clone(),
                ip,
                port,
                weight: remains.weight,
                backup: false,
                eligible: false,
                down: self.health.of(asked.as_ref()).is_down(),
                draining: true,
                expired: drain.is_expired(),
            }
        };
        remains.addresses.iter().map(seat).collect()
    }
}
