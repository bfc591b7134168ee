//! The desired state as a value: what the file says, whole and cross-checked.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::http::{Listener, Route};
use crate::name::Name;
use crate::pool::Pool;
use crate::service::Service;

/// `[host] data_plane`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlaneChoice {
    /// XDP in the driver, else generic XDP, else userspace; each fall is logged.
    #[default]
    Auto,
    Xdp,
    XdpGeneric,
    Userspace,
}

/// What becomes of the fast path when the control plane ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExit {
    #[default]
    Keep,
    Detach,
}

/// Where access lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    #[default]
    Stdout,
    File(PathBuf),
    Off,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessLogFormat {
    #[default]
    Json,
    /// Apache's combined format.
    Combined,
}

/// `[host]`: what is fixed while the process lives, unless noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub interfaces: Vec<String>,
    pub data_plane: PlaneChoice,
    pub state_dir: PathBuf,
    pub flow_table_size: u32,
    pub on_exit: OnExit,
    pub socket: PathBuf,
    pub pin_dir: PathBuf,
    pub metrics: Option<SocketAddr>,
    pub snat_addresses: Vec<IpAddr>,
    pub access_log: AccessLog,
    pub access_log_format: AccessLogFormat,
    /// Percent of the requests that get a line.
    pub access_log_sample: u8,
    /// How long requests in flight may take once the process is told to end.
    pub shutdown_timeout: Duration,
}

impl Host {
    pub const DEFAULT_SOCKET: &str = "/run/lb/lb.sock";
    pub const DEFAULT_STATE_DIR: &str = "/var/lib/lb";
    pub const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/lb";
    pub const DEFAULT_FLOW_TABLE_SIZE: u32 = 1_000_000;
    pub const DEFAULT_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);
}

impl Default for Host {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            data_plane: PlaneChoice::Auto,
            state_dir: Self::DEFAULT_STATE_DIR.into(),
            flow_table_size: Self::DEFAULT_FLOW_TABLE_SIZE,
            on_exit: OnExit::Keep,
            socket: Self::DEFAULT_SOCKET.into(),
            pin_dir: Self::DEFAULT_PIN_DIR.into(),
            metrics: None,
            snat_addresses: Vec::new(),
            access_log: AccessLog::default(),
            access_log_format: AccessLogFormat::default(),
            access_log_sample: 100,
            shutdown_timeout: Self::DEFAULT_SHUTDOWN_TIMEOUT,
        }
    }
}

/// Everything asked for. Every pool named exists and no two listens overlap: `config` sees to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    pub host: Host,
    pub pools: BTreeMap<Name, Pool>,
    pub services: BTreeMap<Name, Service>,
    pub listeners: BTreeMap<Name, Listener>,
    /// In the file's order; names are told apart.
    pub routes: Vec<Route>,
}

impl Desired {
    /// A route sends requests to this pool.
    #[must_use]
    pub fn is_in_layer_7(&self, pool: &Name) -> bool {
        self.routes.iter().any(|r| r.pools().any(|p| p == pool))
    }
    /// The data plane knows this pool: a service uses it, or nobody does.
    #[must_use]
    pub fn is_in_layer_4(&self, pool: &Name) -> bool {
        self.services.values().any(|s| s.pool == *pool) || !self.is_in_layer_7(pool)
    }
}
