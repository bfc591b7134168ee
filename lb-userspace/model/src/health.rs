//! How a backend's health is asked for, and what was seen.

use std::time::Duration;

use crate::http::UpstreamTls;

/// Inclusive range of HTTP statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatusRange {
    pub first: u16,
    pub last: u16,
}

impl StatusRange {
    #[must_use]
    pub const fn contains(self, status: u16) -> bool {
        self.first <= status && status <= self.last
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HealthKind {
    /// A connection is accepted.
    Tcp,
    Http {
        path: String,
        host: Option<String>,
        expect: Vec<StatusRange>,
    },
    /// The same over TLS, verified as the pool's `tls` says.
    Https {
        path: String,
        host: Option<String>,
        expect: Vec<StatusRange>,
        tls: UpstreamTls,
    },
    /// grpc.health.v1.Health/Check is answered SERVING; `service` empty: the server as a whole.
    Grpc {
        service: String,
        tls: Option<UpstreamTls>,
    },
    /// A datagram is sent; with `expect`, the answer must begin with it. Without: any answer, and no ICMP error.
    Udp {
        send: Vec<u8>,
        expect: Option<Vec<u8>>,
    },
}

/// One pool's check. Backends of equal address and equal check are probed once, however many pools hold them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    pub kind: HealthKind,
    pub interval: Duration,
    pub timeout: Duration,
    /// Successes in a row that make an unhealthy backend healthy.
    pub rise: u32,
    /// Failures in a row that make a healthy backend unhealthy.
    pub fall: u32,
    /// How far, in percent of `interval`, a probe may be moved at random: many balancers must not probe in step.
    pub jitter_percent: u8,
    /// Port to probe instead of the backend's own.
    pub port: Option<u16>,
}

/// A backend's health as last seen.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Observation {
    /// Not checked, or not yet: takes flows.
    #[default]
    Unknown,
    Healthy,
    /// With the reason in words.
    Unhealthy(String),
}

impl Observation {
    #[must_use]
    pub const fn is_down(&self) -> bool {
        matches!(self, Self::Unhealthy(_))
    }
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy(_) => "unhealthy",
        }
    }
}
