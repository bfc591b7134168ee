//! All pools, shared by the workers: what is published, what is counted, who is ejected.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use http::HeaderMap;
use lb_model::{BackendAddress, BackendId, Name};
use tokio::sync::watch;

use crate::link::Link;
use crate::plan::PoolPlan;
use crate::pool::PoolHandle;
use crate::{clock, sticky};

type Pools = BTreeMap<Name, Arc<PoolHandle>>;

/// One for the process.
#[derive(Debug)]
pub struct Upstreams {
    pools: ArcSwap<Pools>,
    sticky_key: Secret,
    /// Counts installations; workers tidy up after each.
    changes: watch::Sender<u64>,
}

struct Secret([u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

type Ready = (Arc<PoolHandle>, Arc<PoolPlan>, Arc<Link>);

/// Pools that can be put in force: every file is read, every table built.
#[derive(Debug)]
pub struct Prepared {
    pools: BTreeMap<Name, Ready>,
}

impl Prepared {
    /// The handle that the pool will have (and has already, if it exists).
    #[must_use]
    pub fn pool(&self, name: &Name) -> Option<Arc<PoolHandle>> {
        self.pools.get(name).map(|(handle, ..)| Arc::clone(handle))
    }
}

/// A backend's counts, over its resolved addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendReading {
    pub pool: Name,
    /// As configured.
    pub address: BackendAddress,
    /// Requests and tunnels in flight.
    pub active: u64,
    pub requests: u64,
    /// Sent to the backend, heads included.
    pub bytes: u64,
    /// Requests and tunnels ended by the drain's deadline.
    pub cut: u64,
    /// Answers by status, those that occurred.
    pub statuses: Vec<(u16, u64)>,
}

/// What a choice may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The rightmost untrusted address.
    pub client: IpAddr,
    pub headers: &'a HeaderMap,
    /// Normalised, without query.
    pub path: &'a str,
}

/// A backend that could get the next request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub configured: BackendAddress,
    pub address: SocketAddr,
    pub weight: u32,
}

/// Who gets a request, as far as it can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A hash or a cookie decides.
    One(Candidate),
    /// Chance or state decides. Empty: nobody can.
    Any(Vec<Candidate>),
}

impl Upstreams {
    /// `sticky_key` signs the sticky cookies.
    #[must_use]
    pub fn new(sticky_key: [u8; 32]) -> Arc<Self> {
        Arc::new(Self {
            pools: ArcSwap::from_pointee(Pools::new()),
            sticky_key: Secret(sticky_key),
            changes: watch::Sender::new(0),
        })
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Reads every file that the pools name; changes nothing.
    ///
    /// # Errors
    /// All reasons why the pools cannot be put in force, in words.
    pub fn prepare(&self, pools: &BTreeMap<Name, Arc<PoolPlan>>) -> Result<Prepared, Vec<String>> {
        let old = self.pools.load();
        let mut prepared = BTreeMap::new();
        let mut errors = Vec::new();
        for (name, plan) in pools {
            let known = old.get(name);
            let handle = known.map_or_else(|| Arc::new(PoolHandle::new(name.clone())), Arc::clone);
            match link_for(&handle, known.is_some(), plan) {
                Ok(link) => drop(prepared.insert(name.clone(), (handle, Arc::clone(plan), link))),
                Err(why) => errors.push(format!("pool '{name}': {why}")),
            }
        }
        if errors.is_empty() { Ok(Prepared { pools: prepared }) } else { Err(errors) }
    }

    /// Puts pools in force. What is known of a backend survives by pool and address.
    pub fn install(&self, prepared: Prepared) {
        let now = clock::now();
        let mut pools = Pools::new();
        for (name, (handle, plan, link)) in prepared.pools {
            handle.install(plan, link, &self.sticky_key.0, now);
            pools.insert(name, handle);
        }
        let old = self.pools.swap(Arc::new(pools));
        let new = self.pools.load();
        let gone = old.iter().filter(|(name, _)| !new.contains_key(*name));
        gone.for_each(|(_, handle)| handle.dismiss());
        self.changes.send_modify(|n| *n += 1);
    }

    #[must_use]
    pub fn pool(&self, name: &Name) -> Option<Arc<PoolHandle>> {
        self.pools.load().get(name).cloned()
    }

    #[must_use]
    pub fn counters(&self) -> Vec<BackendReading> {
        let pools = self.pools.load();
        let of_pool = |(name, handle): (&Name, &Arc<PoolHandle>)| {
            let name = name.clone();
            handle.totals().into_iter().map(move |(address, t)| {
                let mut statuses: Vec<(u16, u64)> = t.statuses.into_iter().collect();
                statuses.sort_unstable();
                let (active, requests, bytes, cut) = (t.active, t.requests, t.bytes, t.cut);
                BackendReading { pool: name.clone(), address, active, requests, bytes, cut, statuses }
            })
        };
        let mut all: Vec<BackendReading> = pools.iter().flat_map(of_pool).collect();
        all.sort_by(|a, b| (&a.pool, &a.address).cmp(&(&b.pool, &b.address)));
        all
    }

    /// Backends that outlier detection keeps from new requests: `ejected: 5 errors in a row, back in 21 s`. Of a host
    /// name only if all of its addresses are ejected.
    #[must_use]
    pub fn ejected(&self, now: Instant) -> BTreeMap<BackendId, String> {
        let mut all = BTreeMap::new();
        for (name, handle) in self.pools.load().iter() {
            let current = handle.current(now, clock::ticks(now));
            let mut spared: Vec<&BackendAddress> = Vec::new();
            for member in &current.members {
                let address = &member.backend.configured;
                match member.backend.detector().ejection(now) {
                    Some(e) => {
                        let left = e.until.saturating_duration_since(now).as_secs_f64().ceil();
                        let id = BackendId { pool: name.clone(), address: address.clone() };
                        all.insert(id, format!("ejected: {}, back in {left} s", e.why));
                    }
                    None => spared.push(address),
                }
            }
            all.retain(|id, _| id.pool != *name || !spared.contains(&&id.address));
        }
        all
    }

    /// Who would get this request. Takes no turn. `None`: no such pool.
    #[must_use]
    pub fn choice(&self, pool: &Name, ask: &Ask<'_>) -> Option<Choice> {
        let handle = self.pool(pool)?;
        let now = clock::now();
        let current = handle.current(now, clock::ticks(now));
        let candidate = |member: u32, weight: u32| {
            let p = current.plan.members.get(member as usize)?;
            Some(Candidate { configured: p.configured.clone(), address: p.address, weight })
        };
        let sticky = current.plan.http.sticky.as_ref();
        let token = sticky.and_then(|s| sticky::find(ask.headers, &s.cookie)).and_then(|t| current.of_token(t));
        let deciding = current.deciding();
        let hashed = || deciding.of_hash(handle.hash(&current.plan.http, ask));
        let weight = |m: u32| current.plan.members.get(m as usize).map_or(0, |p| u32::from(p.weight));
        if let Some(one) = token.or_else(hashed).and_then(|m| candidate(m, weight(m))) {
            return Some(Choice::One(one));
        }
        Some(Choice::Any(deciding.candidates().iter().filter_map(|&m| candidate(m, weight(m))).collect()))
    }
}

/// The link in force, if a new one would be the same: its connections stay.
fn link_for(handle: &PoolHandle, known: bool, plan: &PoolPlan) -> Result<Arc<Link>, String> {
    let old = handle.link();
    if known && old.is_for(&plan.http) { Ok(old) } else { Link::new(&plan.http).map(Arc::new) }
}
