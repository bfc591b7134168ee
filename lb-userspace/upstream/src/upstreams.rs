//! All pools, shared by the workers: what is published, what is counted, who is ejected.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use http::HeaderMap;
use lb_model::{BackendAddress, BackendId, Name};

use crate::plan::PoolPlan;
use crate::pool::PoolHandle;

type Pools = BTreeMap<Name, Arc<PoolHandle>>;

/// One for the process.
#[derive(Debug)]
pub struct Upstreams {
    pools: ArcSwap<Pools>,
}

/// Pools that can be put in force: every file is read, every table built.
#[derive(Debug)]
pub struct Prepared {
    pools: Pools,
}

impl Prepared {
    /// The handle that the pool will have (and has already, if it exists).
    #[must_use]
    pub fn pool(&self, name: &Name) -> Option<Arc<PoolHandle>> {
        self.pools.get(name).cloned()
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
        let _ = sticky_key;
        Arc::new(Self { pools: ArcSwap::from_pointee(Pools::new()) })
    }

    /// Reads every file that the pools name; changes nothing.
    ///
    /// # Errors
    /// All reasons why the pools cannot be put in force, in words.
    pub fn prepare(&self, pools: &BTreeMap<Name, Arc<PoolPlan>>) -> Result<Prepared, Vec<String>> {
        let old = self.pools.load();
        let handle = |name: &Name| old.get(name).cloned().unwrap_or_else(|| Arc::new(PoolHandle::new(name.clone())));
        Ok(Prepared { pools: pools.keys().map(|name| (name.clone(), handle(name))).collect() })
    }

    /// Puts pools in force. What is known of a backend survives by pool and address.
    pub fn install(&self, prepared: Prepared) {
        self.pools.store(Arc::new(prepared.pools));
    }

    #[must_use]
    pub fn pool(&self, name: &Name) -> Option<Arc<PoolHandle>> {
        self.pools.load().get(name).cloned()
    }

    #[must_use]
    pub fn counters(&self) -> Vec<BackendReading> {
        Vec::new()
    }

    /// Backends that outlier detection keeps from new requests: `ejected: 5 errors in a row, back in 21 s`.
    #[must_use]
    pub fn ejected(&self, now: Instant) -> BTreeMap<BackendId, String> {
        let _ = now;
        BTreeMap::new()
    }

    /// Who would get this request. Takes no turn. `None`: no such pool.
    #[must_use]
    pub fn choice(&self, pool: &Name, ask: &Ask<'_>) -> Option<Choice> {
        let _ = ask;
        self.pools.load().get(pool).map(|_| Choice::Any(Vec::new()))
    }
}
