//! Layer-4 services.

use std::fmt;
use std::time::Duration;

use crate::listen::{Listen, Prefix};
use crate::name::Name;

/// How packets reach the backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Forward {
    #[default]
    Nat,
    Dsr,
}

impl Forward {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Dsr => "dsr",
        }
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Affinity {
    #[default]
    None,
    /// A client's new flows follow its earlier ones for this long after the last packet.
    ClientIp { timeout: Duration },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MssClamp {
    /// Only where encapsulation needs it.
    #[default]
    Auto,
    Off,
    /// Largest MSS let through.
    Bytes(u16),
}

/// New flows per client address: on average one per `interval`, `burst` at once (GCRA).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RateLimit {
    pub interval: Duration,
    pub burst: u32,
}

/// PROXY protocol towards backends (userspace data plane, TCP).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendProxy {
    V1,
    V2,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: Name,
    pub listen: Listen,
    pub pool: Name,
    pub forward: Forward,
    pub affinity: Affinity,
    pub mss_clamp: MssClamp,
    pub idle_timeout: Duration,
    pub drain_timeout: Duration,
    /// Empty: everybody.
    pub allow: Vec<Prefix>,
    /// Wins over `allow`.
    pub deny: Vec<Prefix>,
    pub rate_limit: Option<RateLimit>,
    pub send_proxy: Option<SendProxy>,
}

impl Service {
    pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
    pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

    #[must_use]
    pub const fn new(name: Name, listen: Listen, pool: Name) -> Self {
        Self {
            name,
            listen,
            pool,
            forward: Forward::Nat,
            affinity: Affinity::None,
            mss_clamp: MssClamp::Auto,
            idle_timeout: Self::DEFAULT_IDLE_TIMEOUT,
            drain_timeout: Self::DEFAULT_DRAIN_TIMEOUT,
            allow: Vec::new(),
            deny: Vec::new(),
            rate_limit: None,
            send_proxy: None,
        }
    }
}
