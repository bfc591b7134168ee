//! The desired state as a value: what the file says, whole and cross-checked.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

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
}

impl Host {
    pub const DEFAULT_SOCKET: &str = "/run/lb/lb.sock";
    pub const DEFAULT_STATE_DIR: &str = "/var/lib/lb";
    pub const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/lb";
    pub const DEFAULT_FLOW_TABLE_SIZE: u32 = 1_000_000;
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
        }
    }
}

/// Everything asked for. Every service's pool exists and no two listens overlap: `config` sees to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    pub host: Host,
    pub pools: BTreeMap<Name, Pool>,
    pub services: BTreeMap<Name, Service>,
}
