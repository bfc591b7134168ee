//! The control plane's door.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use lb_model::{BackendId, Host, Name};

use crate::clock;
use crate::engine::Engine;
use crate::explain::{ExplainRequest, HttpExplanation};
use crate::plan::HttpPlan;
use crate::stage::explain::{Ground, explain};
use crate::stats;
use crate::tap::{Tap, TapOptions};
use crate::view::{CacheStats, CertificateView, HttpCounters, Purge, RouteCounters};

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
    engine: Engine,
}

impl Gateway {
    /// Starts the workers; nothing is listened on yet.
    ///
    /// # Errors
    /// If threads or the access log cannot be had.
    pub fn start(options: GatewayOptions) -> Result<Self, GatewayError> {
        Ok(Self { engine: Engine::start(options)? })
    }

    /// Could this plan be put in force? Reads every file it names; changes nothing.
    ///
    /// # Errors
    /// All reasons why not, in words.
    pub fn check(&self, plan: &HttpPlan) -> Result<(), Vec<GatewayError>> {
        self.engine.check(plan)
    }

    /// Puts a plan in force: on return it is in force on every worker. Unchanged listeners keep their sockets and
    /// connections; whole or not at all.
    ///
    /// # Errors
    /// What failed; the old plan is in force.
    pub fn apply(&mut self, plan: HttpPlan) -> Result<(), GatewayError> {
        self.engine.apply(plan)
    }

    #[must_use]
    pub fn counters(&self) -> HttpCounters {
        let mut out = HttpCounters::default();
        for route in &self.engine.plan.routes {
            out.routes.insert(route.name.clone(), RouteCounters::default());
        }
        stats::sum(&self.engine.shards(), &self.engine.ids, &mut out);
        for reading in self.engine.shared.upstreams.counters() {
            let id = BackendId { pool: reading.pool, address: reading.address };
            let of = out.backends.entry(id.clone()).or_default();
            of.active += reading.active;
            of.requests += reading.requests;
            of.bytes += reading.bytes;
            for (status, count) in reading.statuses {
                *out.backend_requests.entry((id.clone(), status)).or_default() += count;
            }
        }
        out.access_lines_dropped += self.engine.shared.access.as_ref().map_or(0, lb_observe::AccessLog::dropped);
        out.cache = self.cache_stats();
        out
    }

    /// Backends that outlier detection keeps from new requests, each with `ejected: …`.
    #[must_use]
    pub fn ejected(&self) -> BTreeMap<BackendId, String> {
        self.engine.shared.upstreams.ejected(clock::now())
    }

    /// # Errors
    /// A listener that is unknown or not told by the URL; a URL that is none: in words.
    pub fn explain(&self, request: &ExplainRequest) -> Result<HttpExplanation, String> {
        let engine = &self.engine;
        let places: Vec<_> = engine.plan.listeners.keys().filter_map(|name| engine.place(name)).collect();
        let sites: Vec<_> = places.iter().map(|place| place.site.load_full()).collect();
        let ground = Ground {
            sites: &sites,
            covers: &|name, host| engine.place(name).is_some_and(|place| place.covers(host)),
            choose: &|pool, ask| engine.shared.upstreams.choice(pool, ask),
            now: clock::wall(),
        };
        explain(&ground, request)
    }

    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateView> {
        let view = |listener: &Name, v: lb_certs::View| CertificateView {
            listener: listener.to_string(),
            names: v.names,
            issuer: v.issuer,
            not_after: v.not_after,
            source: v.source,
            path: v.path,
            error: v.error,
        };
        let all = self.engine.certificates();
        all.iter().flat_map(|(name, tls)| tls.certificates().into_iter().map(move |v| view(name, v))).collect()
    }

    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        let lb_cache::Stats { hits, misses, stored, evicted, entries, bytes } = self.engine.caches.stats();
        CacheStats { hits, misses, stored, evicted, entries, bytes }
    }

    /// How many stored responses went. `None`: all of them.
    pub fn purge(&self, what: Option<&Purge>) -> u64 {
        self.engine.caches.purge(&match what {
            None => lb_cache::Purge::All,
            Some(Purge::Key(url)) => lb_cache::Purge::Key(url.clone()),
            Some(Purge::Prefix(url)) => lb_cache::Purge::Prefix(url.clone()),
            Some(Purge::Tag(tag)) => lb_cache::Purge::Tag(tag.clone()),
        })
    }

    #[must_use]
    pub fn tap(&self, options: TapOptions) -> Tap {
        self.engine.shared.taps.open(options)
    }

    /// Opens the access log's file anew, for rotation.
    pub fn reopen_log(&self) {
        self.engine.flush_log();
        if let Some(access) = &self.engine.shared.access {
            access.reopen();
        }
    }

    /// Duplicates of all listening sockets, for a process that takes over.
    ///
    /// # Errors
    /// Of dup(2).
    pub fn sockets(&self) -> std::io::Result<Vec<Inherited>> {
        self.engine.sockets()
    }

    /// Requests, tunnels and connections still open.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.engine.in_flight()
    }

    /// Accepts no more, tells clients to go (`Connection: close`, GOAWAY), and returns when all is done or the time is
    /// up. Says how many requests were cut off. Blocks.
    pub fn stop(self, within: Duration) -> u64 {
        self.engine.stop(within)
    }
}
