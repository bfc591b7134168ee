//! Health: probes go out, observations come back, and nothing else is decided here.
//!
//! - [`Tracker`] turns one target's outcomes into its observation (rise and fall);
//! - [`Schedule`] says which target is due when; both take `now` and hold no clock;
//! - [`probe::run`] is one probe, on real sockets;
//! - [`Monitor`] is the task that joins the three.
//!
//! A target is an address *and* a check: however many pools and services share it, it is probed once. Probes go from
//! the host straight to the backend's own address.
#![forbid(unsafe_code)]

pub mod monitor;
pub mod probe;
pub mod schedule;
pub mod tracker;

pub use monitor::Monitor;
pub use schedule::{ProbeId, Schedule};
pub use tracker::Tracker;

use std::net::SocketAddr;

use lb_model::{HealthCheck, Observation};

/// Where a probe goes and what it asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The backend's own address, with the port to probe.
    pub address: SocketAddr,
    pub check: HealthCheck,
}

/// A target to watch, and what is known of it already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    pub target: Target,
    pub known: Observation,
    /// It is known from an earlier process: the first probe decides anew.
    pub hearsay: bool,
}

impl From<Target> for Watch {
    fn from(target: Target) -> Self {
        Self { target, known: Observation::Unknown, hearsay: false }
    }
}

/// How one probe went; a failure says why, in words.
pub type Outcome = Result<(), String>;

/// A target's observation, sent when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub target: Target,
    pub observation: Observation,
}
