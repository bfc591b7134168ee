//! The trait every engine implements, and what comes back from it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lb_common::reason::{Reason, Verdict};
use lb_model::{BackendId, Name, Protocol};

use crate::plan::{Change, Ends};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlaneKind {
    Xdp,
    XdpGeneric,
    Userspace,
}

impl PlaneKind {
    /// As in `lb status --json`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp-generic",
            Self::Userspace => "userspace",
        }
    }
}

/// Layer-3 bytes, client → backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceCounters {
    pub active_flows: u64,
    pub flows_total: u64,
    pub packets: u64,
    pub bytes: u64,
    /// By reason; only reasons that drop, and only those seen.
    pub dropped: BTreeMap<Reason, u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendCounters {
    pub active_flows: u64,
    pub flows_total: u64,
    pub packets: u64,
    pub bytes: u64,
}

/// Since the data plane's maps (or the engine) came to be; monotonic while they live, except `active_flows`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub services: BTreeMap<Name, ServiceCounters>,
    /// Summed over the resolved addresses of a host name. A backend stays here until it is gone from the plane's state.
    pub backends: BTreeMap<BackendId, BackendCounters>,
    /// Packets of no service, by reason (also passed ones).
    pub unowned: BTreeMap<Reason, u64>,
    /// Flows held now, and room for them.
    pub flows: u64,
    pub flow_capacity: u64,
    /// Reserved for maps, in bytes.
    pub memory_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceStatus {
    pub name: String,
    pub index: u32,
    /// `native`, `generic` or `none`.
    pub mode: &'static str,
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    pub service: Name,
    pub protocol: Protocol,
    pub client: SocketAddr,
    pub vip: SocketAddr,
    pub backend: SocketAddr,
    pub state: &'static str,
    pub age: Duration,
    pub idle: Duration,
    pub packets: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowQuery {
    pub service: Option<Name>,
    /// At most so many; `None`: all.
    pub limit: Option<usize>,
}

/// A packet asked about: the first of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    pub ends: Ends,
    pub protocol: Protocol,
}

/// One stage's decision, in the words of the packet path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub stage: &'static str,
    pub decision: String,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    pub verdict: Verdict,
    pub reason: Reason,
    pub service: Option<Name>,
    pub pool: Option<Name>,
    pub slot: Option<u32>,
    pub backend: Option<SocketAddr>,
    pub next_hop: Option<String>,
    pub steps: Vec<Step>,
}

#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    /// The host lacks something (permission, kernel feature, driver support): another engine may do.
    #[error("{what}: {why}")]
    Unavailable { what: String, why: String },
    /// The address cannot be bound (userspace engine).
    #[error("cannot listen on {listen}: {why}")]
    Listen { listen: String, why: String },
    /// A limit of the engine; says which and what to change.
    #[error("{0}")]
    Limit(String),
    /// The engine cannot do what the service asks (for example `dsr` in user space).
    #[error("service '{service}': {what}")]
    Unsupported { service: Name, what: String },
    #[error("{call}: {source}")]
    Kernel { call: String, source: std::io::Error },
}

/// A data plane. Calls come from one thread, the control plane's; the plane itself works elsewhere (kernel, tasks).
pub trait DataPlane: Send + std::fmt::Debug {
    fn kind(&self) -> PlaneKind;
    fn interfaces(&self) -> Vec<InterfaceStatus>;

    /// Why this engine and no other, where that is known only after the start; `None`: as said then.
    fn told(&self) -> Option<String> {
        None
    }

    /// Can the engine do what this service asks? Asked before anything is changed, so that a reload is refused whole.
    ///
    /// # Errors
    /// [`PlaneError::Unsupported`].
    fn supports(&self, service: &lb_model::Service) -> Result<(), PlaneError>;

    /// Carries out changes in order. Established flows are not touched, except as [`crate::Condition`] says.
    ///
    /// # Errors
    /// The first change that failed; those before it are in force, and the failed one is not.
    fn apply(&mut self, changes: &[Change]) -> Result<(), PlaneError>;

    /// Housekeeping: a slice of ageing, next hops, counts. Called about ten times a second; must return within
    /// milliseconds.
    fn tick(&mut self, now: Instant);

    fn counters(&self) -> Counters;
    fn flows(&self, query: &FlowQuery) -> Vec<FlowRecord>;
    /// Changes no counter and no turn.
    fn explain(&self, probe: &Probe) -> Explanation;

    /// Ends this process's part and leaves the data plane forwarding where it can (XDP). `keep` false: takes everything
    /// off. Says in one line what goes on.
    ///
    /// # Errors
    /// If something could not be taken off.
    fn release(self: Box<Self>, keep: bool) -> Result<String, PlaneError>;
}
