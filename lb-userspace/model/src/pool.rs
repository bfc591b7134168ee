//! Pools and their backends.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use crate::health::HealthCheck;
use crate::http::HttpPool;
use crate::listen::split_port;
use crate::name::Name;

/// How a pool picks a backend for a new flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    #[default]
    Maglev,
    SourceHash,
    RoundRobin,
    WeightedRoundRobin,
    LeastConnections,
    Random,
}

impl Algorithm {
    pub const ALL: [Self; 6] = [
        Self::Maglev,
        Self::SourceHash,
        Self::RoundRobin,
        Self::WeightedRoundRobin,
        Self::LeastConnections,
        Self::Random,
    ];
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Maglev => "maglev",
            Self::SourceHash => "source-hash",
            Self::RoundRobin => "round-robin",
            Self::WeightedRoundRobin => "weighted-round-robin",
            Self::LeastConnections => "least-connections",
            Self::Random => "random",
        }
    }
    /// The choice depends on the packet alone (and the table), so another balancer would choose the same.
    #[must_use]
    pub const fn is_consistent(self) -> bool {
        matches!(self, Self::Maglev | Self::SourceHash)
    }
}

impl FromStr for Algorithm {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|a| a.as_str() == s).ok_or_else(|| format!("'{s}' is not an algorithm"))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// 0 to 1000; 0 means no new flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Weight(u16);

impl Weight {
    pub const ONE: Self = Self(1);
    #[must_use]
    pub const fn new(w: u32) -> Option<Self> {
        if w > lb_common::pool::MAX_WEIGHT as u32 { None } else { Some(Self(w as u16)) }
    }
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}

/// A DNS name (RFC 1123 §2.1), lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Arc<str>);

impl HostName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a backend is reached: an address or a host name, with a port or, for services with a port range, without.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BackendAddress {
    Ip { ip: IpAddr, port: Option<u16> },
    Host { host: HostName, port: Option<u16> },
}

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadAddress {
    #[error("'{0}' is neither an address nor a host name; write 10.0.0.1:80, [2001:db8::1]:80 or name.example:80")]
    Form(String),
    #[error("'{0}' is not a port (1 to 65535)")]
    Port(String),
}

impl BackendAddress {
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Ip { port, .. } | Self::Host { port, .. } => *port,
        }
    }
}

impl From<SocketAddr> for BackendAddress {
    fn from(s: SocketAddr) -> Self {
        Self::Ip { ip: s.ip(), port: Some(s.port()) }
    }
}

impl FromStr for BackendAddress {
    type Err = BadAddress;
    fn from_str(s: &str) -> Result<Self, BadAddress> {
        let bare = s.strip_prefix('[').and_then(|r| r.strip_suffix(']')).unwrap_or(s);
        if let Ok(ip) = bare.parse() {
            return Ok(Self::Ip { ip, port: None });
        }
        let (host, port) = match split_port(s) {
            Some((h, p)) => {
                let port = p.parse::<u16>().ok().filter(|p| *p > 0).ok_or_else(|| BadAddress::Port(p.to_owned()))?;
                (h, Some(port))
            }
            None => (s, None),
        };
        if let Ok(ip) = host.parse() {
            return Ok(Self::Ip { ip, port });
        }
        let numeric = host.chars().all(|c| c.is_ascii_digit() || c == '.');
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        let trimmed = host.strip_suffix('.').unwrap_or(host);
        if !numeric && trimmed.len() <= 253 && trimmed.split('.').all(label) {
            Ok(Self::Host { host: HostName(trimmed.to_ascii_lowercase().into()), port })
        } else {
            Err(BadAddress::Form(s.to_owned()))
        }
    }
}

impl fmt::Display for BackendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Ip { ip, port: Some(p) } => SocketAddr::new(*ip, *p).to_string(),
            Self::Ip { ip, port: None } => ip.to_string(),
            Self::Host { host, port: Some(p) } => format!("{}:{p}", host.as_str()),
            Self::Host { host, port: None } => host.as_str().to_owned(),
        };
        f.pad(&text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    pub address: BackendAddress,
    pub weight: Weight,
    /// Layer 7: gets requests only while no other backend can.
    pub backup: bool,
}

/// What to do with new flows when every backend is unhealthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnAllDown {
    #[default]
    Drop,
    /// Over all of them, as if healthy.
    Spread,
}

/// A pool: at most [`lb_common::pool::MAX_MEMBERS`] backends, no address twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    pub name: Name,
    /// Layer 4's.
    pub algorithm: Algorithm,
    /// A prime.
    pub maglev_table_size: u32,
    pub on_all_down: OnAllDown,
    pub health: Option<HealthCheck>,
    pub http: HttpPool,
    backends: Vec<Backend>,
}

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadPool {
    #[error("pool '{pool}' has the backend {address} twice")]
    Duplicate { pool: Name, address: BackendAddress, index: usize },
    #[error("pool '{0}' has more than 1024 backends")]
    TooMany(Name),
}

impl Pool {
    /// # Errors
    /// [`BadPool`] if an address stands twice or there are too many backends.
    pub fn new(name: Name, algorithm: Algorithm, backends: Vec<Backend>) -> Result<Self, BadPool> {
        if backends.len() > lb_common::pool::MAX_MEMBERS as usize {
            return Err(BadPool::TooMany(name));
        }
        let mut seen = std::collections::HashSet::new();
        for (index, b) in backends.iter().enumerate() {
            if !seen.insert(&b.address) {
                return Err(BadPool::Duplicate { pool: name, address: b.address.clone(), index });
            }
        }
        Ok(Self {
            name,
            algorithm,
            maglev_table_size: lb_common::pool::DEFAULT_MAGLEV_SIZE,
            on_all_down: OnAllDown::default(),
            health: None,
            http: HttpPool::default(),
            backends,
        })
    }
    #[must_use]
    pub fn backends(&self) -> &[Backend] {
        &self.backends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_written() {
        for s in ["10.0.0.1:80", "[2001:db8::1]:80", "10.0.0.1", "2001:db8::1", "web-1.example:8080", "web"] {
            assert_eq!(s.parse::<BackendAddress>().map(|a| a.to_string()), Ok(s.to_owned()));
        }
        for s in ["", "10.0.0.1:0", "10.0.0.1:99999", "300.1.1.1:80", "-x:80", "a b:80", ":80", "1.2.3:80"] {
            assert!(s.parse::<BackendAddress>().is_err(), "{s}");
        }
    }
}
