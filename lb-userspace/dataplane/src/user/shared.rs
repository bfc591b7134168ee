//! What every worker of the engine shares, and what is each worker's own.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lb_model::Protocol;

use super::clock::{Clock, Coarse};
use super::conns::Registry;
use super::sessions::Sessions;
use super::udp::HeldSession;
use super::udp_ports::Ports;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    /// TCP connections and UDP sessions held now, and the descriptors that they take.
    flows: AtomicU64,
    files: AtomicU64,
    /// `flow_table_size`, and the descriptors that there are for flows.
    flow_limit: u64,
    file_limit: u64,
    pub(super) ports: Ports,
    /// `snat_addresses`: where connections to backends come from; empty: as the kernel routes.
    snat: Vec<IpAddr>,
    snat_turn: AtomicUsize,
}

impl Shared {
    pub(super) fn new(flow_limit: u64, file_limit: u64, snat: Vec<IpAddr>) -> Self {
        Self {
            clock: Clock::start(),
            flows: AtomicU64::new(0),
            files: AtomicU64::new(0),
            flow_limit,
            file_limit,
            ports: Ports::default(),
            snat,
            snat_turn: AtomicUsize::new(0),
        }
    }

    pub(super) fn flows(&self) -> u64 {
        self.flows.load(Relaxed)
    }

    /// How many flows fit at least: all of them could be TCP.
    pub(super) fn capacity(&self) -> u64 {
        self.flow_limit.min(self.file_limit / files_of(Protocol::Tcp)).max(self.flows())
    }

    /// Is there no room for another flow?
    pub(super) fn is_full(&self, protocol: Protocol) -> bool {
        self.flows() >= self.flow_limit || self.files.load(Relaxed) + files_of(protocol) > self.file_limit
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

/// Descriptors that a flow takes: of TCP both ends, of UDP the backend's.
const fn files_of(protocol: Protocol) -> u64 {
    match protocol {
        Protocol::Tcp => 2,
        Protocol::Udp => 1,
    }
}

/// One more flow, until it is dropped.
#[derive(Debug)]
pub(super) struct FlowCount {
    shared: Arc<Shared>,
    protocol: Protocol,
}

impl FlowCount {
    pub(super) fn new(shared: &Arc<Shared>, protocol: Protocol) -> Self {
        shared.flows.fetch_add(1, Relaxed);
        shared.files.fetch_add(files_of(protocol), Relaxed);
        Self { shared: shared.clone(), protocol }
    }
}

impl Drop for FlowCount {
    fn drop(&mut self) {
        self.shared.flows.fetch_sub(1, Relaxed);
        self.shared.files.fetch_sub(files_of(self.protocol), Relaxed);
    }
}
