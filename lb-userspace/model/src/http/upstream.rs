//! What a pool is to layer 7, beside its backends and their health.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use crate::pool::Algorithm;

/// How a request's backend is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HttpAlgorithm {
    /// Of two by chance the one with the lower peak EWMA of latency times requests in flight.
    #[default]
    P2c,
    RoundRobin,
    WeightedRoundRobin,
    LeastConnections,
    Random,
    /// Consistent, by `hash_on`: Maglev's table.
    SourceHash,
    /// The same.
    Maglev,
    RingHash,
}

impl HttpAlgorithm {
    pub const ALL: [Self; 8] = [
        Self::P2c,
        Self::RoundRobin,
        Self::WeightedRoundRobin,
        Self::LeastConnections,
        Self::Random,
        Self::SourceHash,
        Self::Maglev,
        Self::RingHash,
    ];
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P2c => "p2c",
            Self::RoundRobin => "round-robin",
            Self::WeightedRoundRobin => "weighted-round-robin",
            Self::LeastConnections => "least-connections",
            Self::Random => "random",
            Self::SourceHash => "source-hash",
            Self::Maglev => "maglev",
            Self::RingHash => "ring-hash",
        }
    }
    /// The same at layer 4, where there is one.
    #[must_use]
    pub const fn at_layer_4(self) -> Option<Algorithm> {
        match self {
            Self::RoundRobin => Some(Algorithm::RoundRobin),
            Self::WeightedRoundRobin => Some(Algorithm::WeightedRoundRobin),
            Self::LeastConnections => Some(Algorithm::LeastConnections),
            Self::Random => Some(Algorithm::Random),
            Self::SourceHash => Some(Algorithm::SourceHash),
            Self::Maglev => Some(Algorithm::Maglev),
            Self::P2c | Self::RingHash => None,
        }
    }
}

impl std::str::FromStr for HttpAlgorithm {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|a| a.as_str() == s).ok_or_else(|| format!("'{s}' is not an algorithm"))
    }
}

impl std::fmt::Display for HttpAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// How the backends are spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    #[default]
    H1,
    /// HTTP/2 in clear text, with prior knowledge.
    H2c,
    /// HTTP/2 over TLS.
    H2,
}

/// What the consistent algorithms hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum HashOn {
    #[default]
    ClientIp,
    Header(HeaderName),
    Cookie(String),
    Path,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// PEM bundle; system roots without.
    pub ca: Option<PathBuf>,
    /// SNI and the name verified; the backend's host name or address without.
    pub server_name: Option<String>,
    /// The client's certificate and key.
    pub client: Option<(PathBuf, PathBuf)>,
    pub verify: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SameSite {
    #[default]
    Lax,
    Strict,
    None,
}

impl SameSite {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lax => "Lax",
            Self::Strict => "Strict",
            Self::None => "None",
        }
    }
}

/// A cookie that keeps a client at its backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sticky {
    pub cookie: String,
    /// Zero: a session cookie.
    pub ttl: Duration,
    pub same_site: SameSite,
}

/// Ejection of backends by what their answers say.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outlier {
    /// 0: not looked at.
    pub consecutive_errors: u32,
    /// Percent of the window's requests; 0: not looked at.
    pub error_rate: u8,
    /// Below so many requests in the window the rate says nothing.
    pub min_requests: u32,
    pub window: Duration,
    /// How long; doubled each time in a row, up to ten times.
    pub eject: Duration,
    /// Percent of a pool's backends that may be ejected at once.
    pub max_ejected: u8,
    /// A mean above this over the window ejects.
    pub latency: Option<Duration>,
}

/// Requests that wait for a place at a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Queue {
    pub size: u32,
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpPool {
    /// As written, else power of two choices, whatever layer 4 makes of the pool.
    pub algorithm: HttpAlgorithm,
    pub hash_on: HashOn,
    pub protocol: UpstreamProtocol,
    /// Present: TLS.
    pub tls: Option<UpstreamTls>,
    pub sticky: Option<Sticky>,
    pub outlier: Option<Outlier>,
    pub drain_timeout: Duration,
    pub slow_start: Duration,
    /// In flight per backend; 0: no limit.
    pub max_requests: u32,
    pub queue: Queue,
}

impl Default for HttpPool {
    fn default() -> Self {
        Self {
            algorithm: HttpAlgorithm::default(),
            hash_on: HashOn::default(),
            protocol: UpstreamProtocol::default(),
            tls: None,
            sticky: None,
            outlier: None,
            drain_timeout: Duration::from_secs(30),
            slow_start: Duration::ZERO,
            max_requests: 0,
            queue: Queue { size: 0, timeout: Duration::from_secs(1) },
        }
    }
}
