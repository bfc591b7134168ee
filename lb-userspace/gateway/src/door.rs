//! The control plane's door.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use lb_model::{BackendId, Host};

use crate::explain::{ExplainRequest, HttpExplanation};
use crate::plan::HttpPlan;
use crate::tap::{Tap, TapOptions};
use crate::view::{CacheStats, CertificateView, HttpCounters, Purge};

/// A listening socket taken over from another process: the listener's address, whether it is UDP, and the socket.
#[derive(Debug)]
pub struct Inherited {
    pub address: std::net::SocketAddr,
    pub udp: bool,
    pub socket: OwnedFd,
}

#[derive(Debug, Default)]
pub struct GatewayOptions {
    /// Access log and shutdown.
    pub host: Host,
    pub state_dir: PathBuf,
    /// 0: one per core.
    pub workers: usize,
    pub inherited: Vec<Inherited>,
}

#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address cannot be bound.
    #[error("listener '{listener}' cannot listen on {address}: {why}")]
    Listen { listener: String, address: std::net::SocketAddr, why: String },
    /// A file that the configuration names cannot be used.
    #[error("{0}")]
    File(String),
    #[error("{0}")]
    Start(String),
}

/// Layer 7, running. Calls come from one thread, the control plane's, and return within milliseconds unless said.
#[derive(Debug)]
pub struct Gateway {
    plan: HttpPlan,
}

impl Gateway {
    /// Starts the workers; nothing is listened on yet.
    ///
    /// # Errors
    /// If threads or the access log cannot be had.
    pub fn start(options: GatewayOptions) -> Result<Self, GatewayError> {
        let _ = options;
        Ok(Self { plan: HttpPlan::default() })
    }

    /// Could this plan be put in force? Reads every file it names; changes nothing.
    ///
    /// # Errors
    /// All reasons why not, in words.
    pub fn check(&self, plan: &HttpPlan) -> Result<(), Vec<GatewayError>> {
        let _ = plan;
        Ok(())
    }

    /// Puts a plan in force: on return it is in force on every worker. Unchanged listeners keep their sockets and
    /// connections; whole or not at all.
    ///
    /// # Errors
    /// What failed; the old plan is in force.
    pub fn apply(&mut self, plan: HttpPlan) -> Result<(), GatewayError> {
        self.plan = plan;
        Ok(())
    }

    #[must_use]
    pub fn counters(&self) -> HttpCounters {
        HttpCounters::default()
    }

    /// Backends that outlier detection keeps from new requests, each with `ejected: …`.
    #[must_use]
    pub fn ejected(&self) -> BTreeMap<BackendId, String> {
        BTreeMap::new()
    }

    /// # Errors
    /// A listener that is unknown or not told by the URL; a URL that is none: in words.
    pub fn explain(&self, request: &ExplainRequest) -> Result<HttpExplanation, String> {
        let _ = request;
        Err("not built".to_owned())
    }

    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateView> {
        Vec::new()
    }

    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        CacheStats::default()
    }

    /// How many stored responses went. `None`: all of them.
    pub fn purge(&self, what: Option<&Purge>) -> u64 {
        let _ = what;
        0
    }

    #[must_use]
    pub fn tap(&self, options: TapOptions) -> Tap {
        let _ = options;
        Tap { events: tokio::sync::mpsc::channel(1).1 }
    }

    /// Opens the access log's file anew, for rotation.
    pub fn reopen_log(&self) {}

    /// Duplicates of all listening sockets, for a process that takes over.
    ///
    /// # Errors
    /// Of dup(2).
    pub fn sockets(&self) -> std::io::Result<Vec<Inherited>> {
        Ok(Vec::new())
    }

    /// Requests, tunnels and connections still open.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        0
    }

    /// Accepts no more, tells clients to go (`Connection: close`, GOAWAY), and returns when all is done or the time is
    /// up. Says how many requests were cut off. Blocks.
    pub fn stop(self, within: Duration) -> u64 {
        let _ = within;
        0
    }
}
