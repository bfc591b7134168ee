//! Which targets are probed for the pools as they are, and what is known of each.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use lb_health::{Target, Watch};
use lb_model::{Desired, Name, Observation, Pool};

/// Observations by target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    seen: HashMap<Target, Observation>,
    /// What an earlier process saw down, by the address probed. It holds until the first probe.
    remembered: BTreeMap<SocketAddr, String>,
}

impl Health {
    /// Takes an observation; true if it is news about a watched target.
    pub fn record(&mut self, target: &Target, observation: Observation) -> bool {
        match self.seen.get_mut(target) {
            Some(known) if *known != observation => {
                *known = observation;
                true
            }
            _ => false,
        }
    }

    #[must_use]
    pub fn of(&self, target: Option<&Target>) -> Observation {
        target.and_then(|t| self.seen.get(t)).cloned().unwrap_or_default()
    }

    /// What an earlier process saw down; for targets not watched yet.
    pub fn remember(&mut self, down: BTreeMap<SocketAddr, String>) {
        self.remembered = down;
    }

    /// What is down, for the next process.
    #[must_use]
    pub fn down(&self) -> BTreeMap<SocketAddr, String> {
        let down = self.seen.iter().filter_map(|(t, o)| match o {
            Observation::Unhealthy(why) => Some((t.address, why.clone())),
            _ => None,
        });
        down.collect()
    }

    /// Watches these targets and no others. One whose address was watched under another check begins with what that
    /// check had seen: a changed interval makes no dead backend alive.
    pub fn watch(&mut self, targets: impl IntoIterator<Item = Target>) -> Vec<Watch> {
        let mut by_address: BTreeMap<SocketAddr, &Observation> = BTreeMap::new();
        for (target, seen) in &self.seen {
            let best = by_address.entry(target.address).or_insert(seen);
            // Of several checks, the one that says no is believed until the new one has its say.
            if seen.is_down() {
                *best = seen;
            }
        }
        let begin = |target: Target| {
            let known = self.seen.get(&target).or_else(|| by_address.get(&target.address).copied());
            match (known, self.remembered.get(&target.address)) {
                (Some(known), _) => Watch { known: known.clone(), target, hearsay: false },
                (None, Some(why)) => Watch { known: Observation::Unhealthy(why.clone()), target, hearsay: true },
                (None, None) => target.into(),
            }
        };
        let next: Vec<Watch> = targets.into_iter().map(begin).collect();
        self.seen = next.iter().map(|w| (w.target.clone(), w.known.clone())).collect();
        next
    }
}

/// What to probe for a backend at one address; `None` without a check, or without a port to probe. A backend that keeps
/// the packet's port is probed on its service's first one, unless the check names another.
#[must_use]
pub fn target(desired: &Desired, pool: &Pool, ip: IpAddr, port: Option<u16>) -> Option<Target> {
    let check = pool.health.clone()?;
    let port = check.port.or(port).or_else(|| first_port(desired, &pool.name))?;
    Some(Target { address: SocketAddr::new(ip, port), check })
}

fn first_port(desired: &Desired, pool: &Name) -> Option<u16> {
    desired.services.values().find(|s| s.pool == *pool).map(|s| s.listen.ports.first())
}
