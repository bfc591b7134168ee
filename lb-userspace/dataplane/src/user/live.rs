//! What tasks share while they carry traffic: services, pools and backends with their counts.
//!
//! A pool's members, weights and health are published as one immutable value ([`Published`]); loads and turns live
//! beside it and survive the change.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use lb_balance::{Picker, Surroundings};
use lb_common::reason::{REASON_SLOTS, Reason, Verdict};
use lb_model::{Affinity, BackendId, Name, Service};

use super::clock::millis;
use super::limits::{Affinities, Rates};
use crate::plan::{Condition, PlanePool};
use crate::plane::{BackendCounters, ServiceCounters};

/// Counts of a service or backend; client → backend.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) active: AtomicU64,
    pub(crate) flows: AtomicU64,
    pub(crate) packets: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

impl Tally {
    pub(crate) fn add(&self, packets: u64, bytes: u64) {
        self.packets.fetch_add(packets, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn backend(&self) -> BackendCounters {
        BackendCounters {
            active_flows: self.active.load(Relaxed),
            flows_total: self.flows.load(Relaxed),
            packets: self.packets.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
        }
    }
}

/// Where a backend stands, as seen by flows that have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Up,
    Down,
    /// Flows are ended.
    Expired,
    /// Its pool is gone: flows may end by themselves until their service's `drain_timeout` has passed.
    Orphan,
}

/// A backend at one resolved address.
#[derive(Debug)]
pub(crate) struct LiveBackend {
    pub(crate) id: BackendId,
    pub(crate) ip: IpAddr,
    pub(crate) port: Option<u16>,
    /// Flows held now: what `least-connections` compares.
    pub(crate) active: AtomicU64,
    /// Shared by all addresses of one host name.
    pub(crate) tally: Arc<Tally>,
    standing: AtomicU8,
    orphan_since: AtomicU32,
}

impl LiveBackend {
    pub(crate) fn address(&self, vip_port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(vip_port))
    }

    pub(crate) fn standing(&self) -> Standing {
        match self.standing.load(Relaxed) {
            0 => Standing::Up,
            1 => Standing::Down,
            2 => Standing::Expired,
            _ => Standing::Orphan,
        }
    }

    fn set_condition(&self, c: Condition) {
        let n = match c {
            Condition::Up => 0,
            Condition::Down => 1,
            Condition::Expired => 2,
        };
        self.standing.store(n, Relaxed);
    }

    pub(crate) fn expire(&self) {
        self.set_condition(Condition::Expired);
    }

    pub(crate) fn orphan(&self, now: u32) {
        self.orphan_since.store(now, Relaxed);
        self.standing.store(3, Relaxed);
    }

    pub(crate) fn orphan_since(&self) -> u32 {
        self.orphan_since.load(Relaxed)
    }
}

/// A pool's members and who is picked: published in one step.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) picker: Picker,
    /// By the picker's positions.
    pub(crate) backends: Vec<Arc<LiveBackend>>,
}

#[derive(Debug)]
pub(crate) struct LivePool {
    pub(crate) name: Name,
    published: ArcSwap<Published>,
    turns: AtomicU64,
}

impl LivePool {
    pub(crate) fn new(pool: &PlanePool) -> Arc<Self> {
        let published = publish(pool, &[]);
        Arc::new(Self {
            name: pool.name.clone(),
            published: ArcSwap::from_pointee(published),
            turns: AtomicU64::new(0),
        })
    }

    pub(crate) fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }

    pub(crate) fn with_published<R>(&self, f: impl FnOnce(&Published) -> R) -> R {
        f(&self.published.load())
    }

    /// Replaces the members; says whether any backend's flows are to be ended.
    pub(crate) fn update(&self, pool: &PlanePool) -> bool {
        let old = self.published.load_full();
        let next = publish(pool, &old.backends);
        let mut ends = next.backends.iter().any(|b| b.standing() == Standing::Expired);
        for gone in old.backends.iter().filter(|o| !next.backends.iter().any(|n| Arc::ptr_eq(n, o))) {
            gone.expire();
            ends = true;
        }
        self.published.store(Arc::new(next));
        ends
    }
}

/// Members that were there before keep their counts.
fn publish(pool: &PlanePool, old: &[Arc<LiveBackend>]) -> Published {
    let mut backends: Vec<Arc<LiveBackend>> = Vec::with_capacity(pool.members.len());
    for m in &pool.members {
        let id = pool.backend_id(m);
        let same = |b: &&Arc<LiveBackend>| b.id == id && b.ip == m.ip && b.port == m.port;
        let backend = old.iter().find(same).cloned().unwrap_or_else(|| {
            let sibling = old.iter().chain(&backends).find(|b| b.id == id);
            Arc::new(LiveBackend {
                tally: sibling.map_or_else(Arc::default, |b| b.tally.clone()),
                id,
                ip: m.ip,
                port: m.port,
                active: AtomicU64::new(0),
                standing: AtomicU8::new(0),
                orphan_since: AtomicU32::new(0),
            })
        });
        backend.set_condition(m.condition);
        backends.push(backend);
    }
    let members: Vec<lb_balance::Member> = pool
        .members
        .iter()
        .map(|m| lb_balance::Member { ip: m.ip, port: m.port, weight: m.weight.get(), eligible: m.eligible })
        .collect();
    Published { picker: Picker::new(pool.algorithm, pool.maglev_table_size, &members), backends }
}

/// A pool's surroundings for a pick; `peek` takes no turn.
pub(crate) struct Around<'a> {
    pub(crate) pool: &'a LivePool,
    pub(crate) backends: &'a [Arc<LiveBackend>],
    pub(crate) peek: bool,
}

impl Surroundings for Around<'_> {
    fn turn(&self) -> u64 {
        if self.peek { self.pool.turns.load(Relaxed) } else { self.pool.turns.fetch_add(1, Relaxed) }
    }
    fn random(&self) -> u32 {
        rand::random()
    }
    fn active(&self, member: u32) -> u64 {
        self.backends.get(member as usize).map_or(u64::MAX, |b| b.active.load(Relaxed))
    }
}

/// A service as configured, and its pool; replaced whole.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) service: Service,
    pub(crate) pool: Arc<LivePool>,
    /// Milliseconds.
    pub(crate) idle: u32,
    pub(crate) drain: u32,
    pub(crate) affinity: Option<u32>,
}

impl Settings {
    pub(crate) fn new(service: Service, pool: Arc<LivePool>) -> Self {
        let affinity = match service.affinity {
            Affinity::None => None,
            Affinity::ClientIp { timeout } => Some(millis(timeout)),
        };
        let (idle, drain) = (millis(service.idle_timeout), millis(service.drain_timeout));
        Self { service, pool, idle, drain, affinity }
    }
}

#[derive(Debug)]
pub(crate) struct LiveService {
    pub(crate) name: Name,
    settings: ArcSwap<Settings>,
    pub(crate) tally: Tally,
    dropped: [AtomicU64; REASON_SLOTS as usize],
    rates: Mutex<Rates>,
    affinities: Mutex<Affinities>,
    /// Milliseconds at which it was removed, plus one; 0 while it lives.
    removed: AtomicU64,
}

impl LiveService {
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            name: settings.service.name.clone(),
            settings: ArcSwap::from_pointee(settings),
            tally: Tally::default(),
            dropped: std::array::from_fn(|_| AtomicU64::new(0)),
            rates: Mutex::default(),
            affinities: Mutex::default(),
            removed: AtomicU64::new(0),
        })
    }

    pub(crate) fn settings(&self) -> arc_swap::Guard<Arc<Settings>> {
        self.settings.load()
    }

    pub(crate) fn replace(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    pub(crate) fn drop_packets(&self, reason: Reason, count: u64) {
        if let Some(n) = self.dropped.get(reason as usize) {
            n.fetch_add(count, Relaxed);
        }
    }

    pub(crate) fn drop_packet(&self, reason: Reason) {
        self.drop_packets(reason, 1);
    }

    pub(crate) fn rates(&self) -> MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn affinities(&self) -> MutexGuard<'_, Affinities> {
        self.affinities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn remove(&self, now: u32) {
        self.removed.store(u64::from(now) + 1, Relaxed);
    }

    /// When it was removed.
    pub(crate) fn removed(&self) -> Option<u32> {
        self.removed.load(Relaxed).checked_sub(1).map(|ms| ms as u32)
    }

    pub(crate) fn counters(&self) -> ServiceCounters {
        let b = self.tally.backend();
        let seen = |r: &Reason| (*r, self.dropped.get(*r as usize).map_or(0, |n| n.load(Relaxed)));
        ServiceCounters {
            active_flows: b.active_flows,
            flows_total: b.flows_total,
            packets: b.packets,
            bytes: b.bytes,
            dropped: Reason::ALL
                .iter()
                .filter(|r| r.verdict() == Verdict::Drop)
                .map(seen)
                .filter(|(_, n)| *n > 0)
                .collect(),
        }
    }
}

/// A flow's place in the counts, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) service: Arc<LiveService>,
    pub(crate) backend: Arc<LiveBackend>,
}

impl Held {
    /// Counts the flow as active; [`Held::opened`] counts it as one that came about.
    pub(crate) fn new(service: &Arc<LiveService>, backend: Arc<LiveBackend>) -> Self {
        service.tally.active.fetch_add(1, Relaxed);
        backend.active.fetch_add(1, Relaxed);
        backend.tally.active.fetch_add(1, Relaxed);
        Self { service: service.clone(), backend }
    }

    pub(crate) fn opened(&self) {
        self.service.tally.flows.fetch_add(1, Relaxed);
        self.backend.tally.flows.fetch_add(1, Relaxed);
    }

    pub(crate) fn add(&self, packets: u64, bytes: u64) {
        self.service.tally.add(packets, bytes);
        self.backend.tally.add(packets, bytes);
    }

    /// The flow carries traffic: where the service asks for it, its client's later flows follow it for longer.
    pub(crate) fn refresh_affinity(&self, client: SocketAddr, seen: u32) {
        if self.service.settings().affinity.is_some() {
            self.service.affinities().touch(client.ip(), &self.backend, seen);
        }
    }

    /// Must the flow end now, whatever its protocol?
    pub(crate) fn is_over(&self, now: u32) -> bool {
        let late = |since: u32| super::clock::age(now, since) >= self.service.settings().drain;
        match self.backend.standing() {
            Standing::Expired => true,
            Standing::Orphan => late(self.backend.orphan_since()),
            Standing::Up | Standing::Down => self.service.removed().is_some_and(late),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.service.tally.active.fetch_sub(1, Relaxed);
        self.backend.active.fetch_sub(1, Relaxed);
        self.backend.tally.active.fetch_sub(1, Relaxed);
    }
}
