//! Where a service listens, and whom it lets in.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// IP protocol number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => lb_common::net::proto::TCP,
            Self::Udp => lb_common::net::proto::UDP,
        }
    }
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Ports `first..=last`, 1 and up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// `None` if `first` is 0 or beyond `last`.
    #[must_use]
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first == 0 || first > last { None } else { Some(Self { first, last }) }
    }
    #[must_use]
    pub const fn single(port: u16) -> Option<Self> {
        Self::new(port, port)
    }
    #[must_use]
    pub const fn first(self) -> u16 {
        self.first
    }
    #[must_use]
    pub const fn last(self) -> u16 {
        self.last
    }
    #[must_use]
    pub const fn is_single(self) -> bool {
        self.first == self.last
    }
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// `192.0.2.10:80/tcp`, `[2001:db8::1]:5000-5100/udp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Listen {
    pub address: IpAddr,
    pub ports: PortRange,
    pub protocol: Protocol,
}

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadListen {
    #[error("'{0}' names no protocol: write {0}/tcp or {0}/udp")]
    NoProtocol(String),
    #[error("'{0}' is neither tcp nor udp")]
    Protocol(String),
    #[error("'{0}' has no port: write ADDRESS:PORT/tcp, IPv6 addresses in brackets")]
    NoPort(String),
    #[error("'{0}' is not a port (1 to 65535) or a range FIRST-LAST")]
    Port(String),
    #[error("'{0}' is not an IPv4 or IPv6 address")]
    Address(String),
}

impl Listen {
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.address == other.address && self.protocol == other.protocol && self.ports.overlaps(other.ports)
    }
}

impl FromStr for Listen {
    type Err = BadListen;
    fn from_str(s: &str) -> Result<Self, BadListen> {
        let (place, protocol) = s.rsplit_once('/').ok_or_else(|| BadListen::NoProtocol(s.to_owned()))?;
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(BadListen::Protocol(protocol.to_owned())),
        };
        let (address, ports) = split_port(place).ok_or_else(|| BadListen::NoPort(s.to_owned()))?;
        let address = address.parse().map_err(|_| BadListen::Address(address.to_owned()))?;
        let bad = || BadListen::Port(ports.to_owned());
        let number = |p: &str| p.parse::<u16>().map_err(|_| bad());
        let range = match ports.split_once('-') {
            Some((first, last)) => PortRange::new(number(first)?, number(last)?),
            None => PortRange::single(number(ports)?),
        };
        Ok(Self { address, ports: range.ok_or_else(bad)?, protocol })
    }
}

/// Splits `address:port`, taking IPv6 brackets off; `None` without a port.
pub(crate) fn split_port(s: &str) -> Option<(&str, &str)> {
    if let Some(rest) = s.strip_prefix('[') {
        let (address, port) = rest.split_once("]:")?;
        Some((address, port))
    } else {
        let (address, port) = s.rsplit_once(':')?;
        if address.contains(':') { None } else { Some((address, port)) }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(a) => write!(f, "{a}:")?,
            IpAddr::V6(a) => write!(f, "[{a}]:")?,
        }
        if self.ports.is_single() {
            write!(f, "{}/{}", self.ports.first, self.protocol)
        } else {
            write!(f, "{}-{}/{}", self.ports.first, self.ports.last, self.protocol)
        }
    }
}

/// An address range, `10.0.0.0/8`; a plain address is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadPrefix {
    #[error("'{0}' is not an address range such as 10.0.0.0/8")]
    Form(String),
    #[error("'{given}' has bits beyond its length; the range is {meant}")]
    HostBits { given: String, meant: String },
}

impl Prefix {
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }
    #[must_use]
    pub const fn length(&self) -> u8 {
        self.length
    }
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.address.is_ipv4() == ip.is_ipv4() && mask(ip, self.length) == self.address
    }
}

fn mask(ip: IpAddr, length: u8) -> IpAddr {
    match ip {
        IpAddr::V4(a) => {
            let m = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((u32::from(a) & m).into())
        }
        IpAddr::V6(a) => {
            let m = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((u128::from(a) & m).into())
        }
    }
}

impl FromStr for Prefix {
    type Err = BadPrefix;
    fn from_str(s: &str) -> Result<Self, BadPrefix> {
        let bad = || BadPrefix::Form(s.to_owned());
        let (address, length) = match s.split_once('/') {
            Some((a, l)) => (a, Some(l.parse::<u8>().map_err(|_| bad())?)),
            None => (s, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let full = if address.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(full);
        if length > full {
            return Err(bad());
        }
        let meant = mask(address, length);
        if meant != address {
            return Err(BadPrefix::HostBits { given: s.to_owned(), meant: format!("{meant}/{length}") });
        }
        Ok(Self { address, length })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listens_read_back_as_written() {
        for s in ["192.0.2.10:80/tcp", "[2001:db8::1]:53/udp", "192.0.2.10:5000-5100/udp"] {
            assert_eq!(s.parse::<Listen>().map(|l| l.to_string()), Ok(s.to_owned()));
        }
        for s in [
            "192.0.2.10:80",
            "192.0.2.10/tcp",
            "192.0.2.10:0/tcp",
            "2001:db8::1:80/tcp",
            "1.2.3.4:9-8/udp",
            "x:80/tcp",
            "1.2.3.4:80/sctp",
        ] {
            assert!(s.parse::<Listen>().is_err(), "{s}");
        }
    }

    #[test]
    fn prefixes() {
        let p: Prefix = "10.0.0.0/8".parse().expect("a prefix");
        assert!(p.contains("10.255.0.1".parse().expect("ip")) && !p.contains("11.0.0.1".parse().expect("ip")));
        assert!("0.0.0.0/0".parse::<Prefix>().expect("all").contains("1.2.3.4".parse().expect("ip")));
        assert!("::/0".parse::<Prefix>().expect("all").contains("2001::1".parse().expect("ip")));
        assert!(matches!("10.0.0.1/8".parse::<Prefix>(), Err(BadPrefix::HostBits { .. })));
        assert!("10.0.0.0/33".parse::<Prefix>().is_err());
    }
}
