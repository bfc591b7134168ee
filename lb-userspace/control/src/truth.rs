//! What is wanted, as one value: the file, the changes by CLI over it, and what is on its way out. Every way to change it
//! makes a new value first, which is tried and then put in force or dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_dataplane::PlaneState;
use lb_gateway::HttpPlan;
use lb_model::{BackendAddress, BackendId, Desired, HostName, Name, Service};

use crate::drain::{Drains, Key, Remains, Why};
use crate::former::Former;
use crate::health::{Health, target};
use crate::http_plan::http_plan;
use crate::names::Names;
use crate::overrides::{Entry, Overrides};
use crate::reconcile::{addresses, plan_state, preferred};

#[derive(Clone, Debug, Default)]
pub struct Truth {
    pub desired: Desired,
    /// All that the CLI has said, also what this file gives nothing to act on.
    pub kept: Overrides,
    /// Those that go with the file; see [`Truth::settle`].
    pub overrides: Overrides,
    pub drains: Drains,
    /// Changes that the file rules out, in words.
    pub conflicts: Vec<String>,
}

impl Truth {
    /// Works out which changes by CLI go with the file. One that it rules out (a backend without the port that a service
    /// now needs, say) is kept and not in force.
    pub fn settle(&mut self) {
        self.conflicts.clear();
        self.overrides = self.kept.clone();
        let added: Vec<BackendId> = self.kept.iter().filter(|(_, c)| c.added).map(|(id, _)| id.clone()).collect();
        if added.is_empty() || self.verdict().is_ok() || config_says(&self.desired).is_err() {
            return;
        }
        for id in &added {
            self.overrides.forget(id);
        }
        for id in added {
            let Some(change) = self.kept.get(&id).cloned() else { continue };
            self.overrides.edit(&id, |c| *c = change);
            if let Err(why) = self.verdict() {
                self.conflicts.push(format!("{id}, added by CLI, is not in force: {why}"));
                self.overrides.forget(&id);
            }
        }
    }

    /// Whether the file with the changes written into it would be a valid file; the first error.
    ///
    /// # Errors
    /// What `lb check` would say.
    pub fn verdict(&self) -> Result<(), String> {
        config_says(&self.overrides.written_into(&self.desired).map_err(|e| e.to_string())?)
    }

    #[must_use]
    pub fn plan(&self, health: &Health, names: &Names) -> PlaneState {
        plan_state(&self.desired, &self.overrides, health, &self.drains, names)
    }

    /// Backends of every pool; pools in order.
    pub fn pools(&self) -> impl Iterator<Item = (&Name, Vec<Entry>)> {
        self.desired.pools.keys().map(|n| (n, self.overrides.entries(&self.desired, n).unwrap_or_default()))
    }

    /// Every backend of every pool.
    #[must_use]
    pub fn all(&self) -> BTreeMap<BackendId, Entry> {
        let of = |(name, entries): (&Name, Vec<Entry>)| {
            let name = name.clone();
            entries.into_iter().map(move |e| (BackendId { pool: name.clone(), address: e.address.clone() }, e))
        };
        self.pools().flat_map(of).collect()
    }

    #[must_use]
    pub fn entry(&self, id: &BackendId) -> Option<Entry> {
        self.overrides.entries(&self.desired, &id.pool)?.into_iter().find(|e| e.address == id.address)
    }

    /// What layer 7 should be doing.
    #[must_use]
    pub fn http_plan(&self, health: &Health, names: &Names) -> HttpPlan {
        http_plan(&self.desired, &self.overrides, health, &self.drains, names)
    }

    /// The longest `drain_timeout` of the services that share the pool, and the pool's own if layer 7 uses it.
    #[must_use]
    pub fn drain_timeout(&self, pool: &Name) -> Option<Duration> {
        let services = self.desired.services.values().filter(|s| s.pool == *pool).map(|s| s.drain_timeout);
        let http = self.desired.pools.get(pool).filter(|_| self.desired.is_in_layer_7(pool));
        services.chain(http.map(|p| p.http.drain_timeout)).max()
    }

    /// Begins the way out of everything that `before` had and `self` has not, and takes it back for what is there
    /// again, or is no longer marked as draining.
    pub fn part_with(&mut self, before: &Self, names: &Names, now: Instant) {
        let here = self.all();
        for (id, entry) in before.all() {
            if here.contains_key(&id) {
                continue;
            }
            let timeout = self.drain_timeout(&id.pool).max(before.drain_timeout(&id.pool));
            let deadline = now + timeout.unwrap_or(Service::DEFAULT_DRAIN_TIMEOUT);
            let Some(remains) = before.remains(&entry, &id.pool, before.addresses(&id.pool, &entry, names)) else {
                self.drains.cancel(&id.into());
                continue;
            };
            self.drains.start(id.into(), Why::Leaving { remains, hidden: false }, deadline);
        }
        let over = |key: &Key, leaving: bool| {
            key.stale.is_none() && here.get(&key.backend).is_some_and(|e| leaving || !e.draining)
        };
        let back: Vec<Key> =
            self.drains.iter().filter(|(k, d)| over(k, d.is_leaving())).map(|(k, _)| k.clone()).collect();
        for key in back {
            self.drains.cancel(&key);
        }
    }

    /// Begins the way out of what an earlier process had in force and `self` has not.
    pub fn part_with_former(&mut self, former: &Former, now: Instant) {
        let here = self.all();
        for (key, why) in former.leaving() {
            if !here.contains_key(&key.backend) && self.drains.get(&key).is_none() {
                let timeout = self.drain_timeout(&key.backend.pool).unwrap_or(Service::DEFAULT_DRAIN_TIMEOUT);
                self.drains.start(key, why, now + timeout);
            }
        }
    }

    /// Every backend marked as draining has its drain; one that has none gets one (a mark without a drain comes from
    /// a state file, or from a backend that is there again).
    pub fn start_marked(&mut self, now: Instant) {
        for (id, _) in self.all().into_iter().filter(|(_, e)| e.draining) {
            let timeout = self.drain_timeout(&id.pool).unwrap_or(Service::DEFAULT_DRAIN_TIMEOUT);
            let key = Key::from(id);
            if self.drains.get(&key).is_none() {
                self.drains.start(key, Why::Command, now + timeout);
            }
        }
    }

    /// A name resolves to other addresses now: those it had drain, those that are back do not.
    pub fn readdress(&mut self, host: &HostName, before: &[IpAddr], after: &[IpAddr], now: Instant) {
        let uses = |e: &Entry| matches!(&e.address, BackendAddress::Host { host: h, .. } if h == host);
        for (id, entry) in self.all().into_iter().filter(|(_, e)| uses(e)) {
            let deadline = now + self.drain_timeout(&id.pool).unwrap_or(Service::DEFAULT_DRAIN_TIMEOUT);
            let before = preferred(&self.desired, &id.pool, before);
            let after = preferred(&self.desired, &id.pool, after);
            for &ip in before.iter().filter(|ip| !after.contains(ip)) {
                let Some(remains) = self.remains(&entry, &id.pool, vec![ip]) else { continue };
                let key = Key { backend: id.clone(), stale: Some(ip) };
                self.drains.start(key, Why::Leaving { remains, hidden: true }, deadline);
            }
            for ip in after {
                self.drains.cancel(&Key { backend: id.clone(), stale: Some(ip) });
            }
        }
    }

    /// What the data plane must know of a backend that leaves; `None` if it is reached nowhere, or its pool is unknown.
    #[must_use]
    pub fn remains(&self, entry: &Entry, pool: &Name, addresses: Vec<IpAddr>) -> Option<Remains> {
        let pool = self.desired.pools.get(pool)?;
        let (algorithm, maglev_table_size) = (pool.algorithm, pool.maglev_table_size);
        let layer_4 = self.desired.is_in_layer_4(&pool.name);
        let http = self.desired.is_in_layer_7(&pool.name).then(|| Arc::new(pool.http.clone()));
        let weight = entry.weight;
        (!addresses.is_empty()).then_some(Remains { weight, addresses, algorithm, maglev_table_size, layer_4, http })
    }

    /// The addresses that a backend is reached at now.
    #[must_use]
    pub fn addresses(&self, pool: &Name, entry: &Entry, names: &Names) -> Vec<IpAddr> {
        addresses(&self.desired, pool, &entry.address, names)
    }

    /// Host names in use.
    #[must_use]
    pub fn hosts(&self) -> BTreeSet<HostName> {
        let host = |e: Entry| match e.address {
            BackendAddress::Host { host, .. } => Some(host),
            BackendAddress::Ip { .. } => None,
        };
        self.pools().flat_map(|(_, entries)| entries).filter_map(host).collect()
    }

    /// Everything to probe: what is in the pools, and what leaves a pool that is still there.
    #[must_use]
    pub fn targets(&self, names: &Names) -> Vec<lb_health::Target> {
        let mut out = std::collections::HashSet::new();
        for (name, entries) in self.pools() {
            let Some(pool) = self.desired.pools.get(name) else { continue };
            for entry in entries {
                let ips = self.addresses(name, &entry, names);
                out.extend(ips.into_iter().filter_map(|ip| target(&self.desired, pool, ip, entry.address.port())));
            }
        }
        for (key, drain) in self.drains.iter() {
            let (Some(pool), Why::Leaving { remains, .. }) = (self.desired.pools.get(&key.backend.pool), &drain.why)
            else {
                continue;
            };
            let port = key.backend.address.port();
            out.extend(remains.addresses.iter().filter_map(|ip| target(&self.desired, pool, *ip, port)));
        }
        out.into_iter().collect()
    }
}

fn config_says(desired: &Desired) -> Result<(), String> {
    let text = lb_config::export(desired);
    match lb_config::parse(&text, "") {
        Ok(_) => Ok(()),
        Err(errors) => Err(errors.into_iter().next().map(|d| d.message).unwrap_or_default()),
    }
}
