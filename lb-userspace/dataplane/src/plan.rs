//! What a data plane is told: services and pools with names resolved and health applied, and the differences between two
//! such states.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use lb_model::{Algorithm, BackendAddress, BackendId, Name, Service, Weight};

/// What a backend's condition means for its flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Flows are carried; new ones come if [`Member::eligible`].
    Up,
    /// Unhealthy: UDP flows are scheduled anew, TCP flows are left alone, a new SYN of a known flow goes elsewhere.
    Down,
    /// Its drain deadline has passed: UDP flows are scheduled anew and TCP flows are reset.
    Expired,
}

/// A backend at one resolved address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The address as configured; of a host name there is a member per resolved address.
    pub configured: BackendAddress,
    pub ip: IpAddr,
    /// `None`: the packet's own port is kept.
    pub port: Option<u16>,
    pub weight: Weight,
    /// Takes new flows: healthy (or the pool spreads), not draining, weight above 0.
    pub eligible: bool,
    pub condition: Condition,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanePool {
    pub name: Name,
    pub algorithm: Algorithm,
    pub maglev_table_size: u32,
    pub members: Vec<Member>,
}

impl PlanePool {
    #[must_use]
    pub fn backend_id(&self, member: &Member) -> BackendId {
        BackendId { pool: self.name.clone(), address: member.configured.clone() }
    }

    /// The pool's slots as every engine publishes them: positions in `members`.
    #[must_use]
    pub fn slots(&self) -> Vec<u32> {
        let members: Vec<lb_balance::Member> = self
            .members
            .iter()
            .map(|m| lb_balance::Member { ip: m.ip, port: m.port, weight: m.weight.get(), eligible: m.eligible })
            .collect();
        lb_balance::slots(self.algorithm, &members, self.maglev_table_size)
    }
}

/// A service as the model has it; its pool is in the state too.
pub type PlaneService = Service;

/// Everything a data plane should be doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaneState {
    pub pools: BTreeMap<Name, PlanePool>,
    pub services: BTreeMap<Name, PlaneService>,
}

/// One step from one state to another. A list of changes is applied in order; [`PlaneState::diff`] orders it so that a
/// service never lacks its pool on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    PutPool(PlanePool),
    PutService(PlaneService),
    RemoveService(Name),
    RemovePool(Name),
}

impl PlaneState {
    /// The changes that make `self` into `next`, and nothing that is the same already.
    #[must_use]
    pub fn diff(&self, next: &Self) -> Vec<Change> {
        let mut out = Vec::new();
        let gone = self.services.keys().filter(|n| !next.services.contains_key(*n));
        out.extend(gone.cloned().map(Change::RemoveService));
        let pools = next.pools.iter().filter(|(n, p)| self.pools.get(*n) != Some(p));
        out.extend(pools.map(|(_, p)| Change::PutPool(p.clone())));
        let services = next.services.iter().filter(|(n, s)| self.services.get(*n) != Some(s));
        out.extend(services.map(|(_, s)| Change::PutService(s.clone())));
        let gone = self.pools.keys().filter(|n| !next.pools.contains_key(*n));
        out.extend(gone.cloned().map(Change::RemovePool));
        out
    }

    /// Carries one change out on the value.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::PutPool(p) => drop(self.pools.insert(p.name.clone(), p.clone())),
            Change::PutService(s) => drop(self.services.insert(s.name.clone(), s.clone())),
            Change::RemoveService(n) => drop(self.services.remove(n)),
            Change::RemovePool(n) => drop(self.pools.remove(n)),
        }
    }
}

/// A flow's two ends and the service's address, for `lb explain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub client: SocketAddr,
    pub vip: SocketAddr,
}
