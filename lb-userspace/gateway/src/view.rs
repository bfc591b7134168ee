//! What layer 7 tells of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use lb_model::{BackendId, Name};

/// As `lb route list` shows; kept over reloads by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteCounters {
    pub requests: u64,
    /// Responses of 500 to 599.
    pub errors: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerCounters {
    /// Open now.
    pub connections: u64,
    pub connections_total: u64,
    pub requests_total: u64,
    /// Handshakes that failed.
    pub tls_failures: u64,
    /// Connections closed for a missing or broken PROXY protocol header, or one from a stranger.
    pub proxy_refused: u64,
}

/// As `lb backend list` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpBackendCounters {
    /// Requests and tunnels in flight.
    pub active: u64,
    pub requests: u64,
    /// Sent to the backend, heads included.
    pub bytes: u64,
}

/// `lb_http_requests_total`'s labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestLabels {
    pub listener: String,
    /// Empty: no route.
    pub route: String,
    pub pool: String,
    pub status: u16,
}

/// Requests by duration: one count for each of [`LATENCY_BUCKETS`] and one beyond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Not cumulative.
    pub counts: Vec<u64>,
    pub sum: Duration,
}

/// Upper bounds in microseconds.
pub const LATENCY_BUCKETS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// All counts at one moment; none falls, except what is open or active now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpCounters {
    pub routes: BTreeMap<Name, RouteCounters>,
    pub listeners: BTreeMap<Name, ListenerCounters>,
    pub backends: BTreeMap<BackendId, HttpBackendCounters>,
    pub requests: BTreeMap<RequestLabels, u64>,
    pub route_seconds: BTreeMap<Name, Histogram>,
    /// (backend, status) → answers.
    pub backend_requests: BTreeMap<(BackendId, u16), u64>,
    /// Refusals by reason.
    pub refused: BTreeMap<&'static str, u64>,
    pub access_lines_dropped: u64,
    pub cache: CacheStats,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    pub hits: u64,
    pub misses: u64,
    pub stored: u64,
    pub evicted: u64,
    pub entries: u64,
    pub bytes: u64,
}

/// What to purge; keys and prefixes are URLs as the client writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    Key(String),
    Prefix(String),
    Tag(String),
}

/// A certificate in use, as `lb cert list` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateView {
    pub listener: String,
    pub names: Vec<String>,
    pub issuer: Option<String>,
    /// RFC 3339.
    pub not_after: Option<String>,
    /// `file` or `acme`.
    pub source: &'static str,
    pub path: Option<String>,
    pub error: Option<String>,
}
