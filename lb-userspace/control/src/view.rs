//! What the control plane shows: one immutable value that holds everything `lb status` and its kin print.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lb_common::reason::Reason;
use lb_dataplane::{BackendCounters, InterfaceStatus, PlaneKind, ServiceCounters};
use lb_gateway::{HttpCounters, ListenerCounters, RouteCounters};
use lb_model::http::{HttpAlgorithm, Listener, Route};
use lb_model::{Algorithm, BackendAddress, Name, Observation, Service};

/// Where a backend's life stands, as in `lb backend list --json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackendState {
    /// In the pool; whether it gets new flows is for health and weight to say.
    Active,
    /// No new flows; its own go on until they end or the deadline passes.
    Draining,
    /// Drained, and kept listed until it is undrained or removed.
    Drained,
}

impl BackendState {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Drained => "drained",
        }
    }
}

/// Who put a backend into its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The configuration file, or the flags of `lb run`.
    File,
    /// `lb backend add`.
    Cli,
}

impl Origin {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Cli => "cli",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendView {
    pub pool: Name,
    /// As configured.
    pub address: BackendAddress,
    /// Addresses in use; of a backend given by address, that one.
    pub resolved: Vec<IpAddr>,
    pub weight: u16,
    pub state: BackendState,
    pub health: Observation,
    pub counters: BackendCounters,
    /// Time left until a draining backend's flows are given up.
    pub drain_deadline_in: Option<Duration>,
    /// It is on its way out of the pool, and disappears once drained.
    pub leaving: bool,
    pub source: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolView {
    pub name: Name,
    pub algorithm: Algorithm,
    /// Layer 7's, if a route uses the pool.
    pub http_algorithm: Option<HttpAlgorithm>,
    pub backends: Vec<BackendView>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceView {
    pub service: Service,
    pub algorithm: Algorithm,
    pub counters: ServiceCounters,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteView {
    pub route: Arc<Route>,
    pub counters: RouteCounters,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerView {
    pub listener: Arc<Listener>,
    pub counters: ListenerCounters,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub version: &'static str,
    pub data_plane: PlaneKind,
    /// Why this engine and no other, in words.
    pub data_plane_reason: String,
    pub interfaces: Vec<InterfaceStatus>,
    pub services: Vec<ServiceView>,
    pub pools: Vec<PoolView>,
    pub listeners: Vec<ListenerView>,
    /// In the file's order.
    pub routes: Vec<RouteView>,
    /// Layer 7's counts of this process.
    pub http: HttpCounters,
    /// Packets of no service, by reason.
    pub unowned: BTreeMap<Reason, u64>,
    pub uptime: Duration,
    /// Changes made by CLI that are in force over the file, in words.
    pub overrides: Vec<String>,
    pub memory_bytes: u64,
    pub flows: u64,
    pub flow_capacity: u64,
    pub config_path: Option<PathBuf>,
    /// Why the last reload was refused, until one succeeds.
    pub last_reload_error: Option<String>,
    /// What an operator should know: falls of the data plane, keys that need a restart, changes that could not be applied.
    pub notes: Vec<String>,
}

impl View {
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<&PoolView> {
        self.pools.iter().find(|p| p.name.as_str() == name)
    }
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&ServiceView> {
        self.services.iter().find(|s| s.service.name.as_str() == name)
    }
    #[must_use]
    pub fn route(&self, name: &str) -> Option<&RouteView> {
        self.routes.iter().find(|r| r.route.name.as_str() == name)
    }
    /// The backend whose configured address is written so.
    #[must_use]
    pub fn backend(&self, pool: &str, address: &str) -> Option<&BackendView> {
        self.pool(pool)?.backends.iter().find(|b| b.address.to_string() == address)
    }
}
