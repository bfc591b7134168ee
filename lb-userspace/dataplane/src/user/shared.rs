//! What every worker of the engine shares, and what is each worker's own.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::clock::{Clock, Coarse};
use super::conns::Registry;
use super::sessions::Sessions;
use super::udp::HeldSession;
use super::udp_ports::Ports;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    /// TCP connections and UDP sessions held now.
    pub(super) flows: AtomicU64,
    pub(super) capacity: u64,
    pub(super) ports: Ports,
    /// `snat_addresses`: where connections to backends come from; empty: as the kernel routes.
    snat: Vec<IpAddr>,
    snat_turn: AtomicUsize,
}

impl Shared {
    pub(super) fn new(capacity: u64, snat: Vec<IpAddr>) -> Self {
        Self {
            clock: Clock::start(),
            flows: AtomicU64::new(0),
            capacity,
            ports: Ports::default(),
            snat,
            snat_turn: AtomicUsize::new(0),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.flows.load(Relaxed) >= self.capacity
    }

    /// The next source address towards `backend`; `None`: the kernel's choice.
    pub(super) fn source(&self, backend: SocketAddr) -> Option<IpAddr> {
        let fits = |a: &&IpAddr| a.is_ipv4() == backend.is_ipv4();
        let n = self.snat.iter().filter(fits).count();
        if n == 0 {
            return None;
        }
        let turn = self.snat_turn.fetch_add(1, Relaxed) % n;
        self.snat.iter().filter(fits).nth(turn).copied()
    }
}

/// One worker's own: nobody else writes, but `lb flows` and counters read.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) now: Coarse,
    pub(super) conns: Registry,
    sessions: Mutex<Sessions<HeldSession>>,
    /// When a failure to accept was last logged.
    pub(super) complained: AtomicU32,
}

impl Own {
    pub(super) fn new(sessions: usize) -> Self {
        Self {
            now: Coarse::default(),
            conns: Registry::default(),
            sessions: Mutex::new(Sessions::new(sessions)),
            complained: AtomicU32::new(0),
        }
    }

    pub(super) fn sessions(&self) -> MutexGuard<'_, Sessions<HeldSession>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One more flow, until it is dropped.
#[derive(Debug)]
pub(super) struct FlowCount(std::sync::Arc<Shared>);

impl FlowCount {
    pub(super) fn new(shared: &std::sync::Arc<Shared>) -> Self {
        shared.flows.fetch_add(1, Relaxed);
        Self(shared.clone())
    }
}

impl Drop for FlowCount {
    fn drop(&mut self) {
        self.0.flows.fetch_sub(1, Relaxed);
    }
}
