//! The address plan: the same in every lab, since every lab has namespaces of its own.
//!
//! | what | IPv4 | IPv6 |
//! |---|---|---|
//! | backends' segment (everyone's, one-armed) | 10.77.0.0/24 | fd77::/64 |
//! | clients' segment (two-armed) | 10.76.0.0/24 | fd76::/64 |
//! | further addresses of the client, all its own | 10.78.0.0/16 | fd78::/64 |
//! | services | 192.0.2.0/24 | 2001:db8:10::/64 |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Topology;

pub const MAX_BACKENDS: usize = 200;
pub const VIPS4: &str = "192.0.2.0/24";
pub const VIPS6: &str = "2001:db8:10::/64";
pub const CLIENTS4: &str = "10.78.0.0/16";
pub const CLIENTS6: &str = "fd78::/64";
/// How many further addresses the client is used with.
pub const CLIENTS: u32 = 60_000;
const FIRST_PORT: u16 = 10_000;
const PORTS: u32 = 50_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        }
    }
}

fn on(segment: u8, host: u8, family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, segment, 0, host).into(),
        Family::V6 => {
            Ipv6Addr::new(0xfd00 + u16::from(segment / 10 * 16 + segment % 10), 0, 0, 0, 0, 0, 0, host.into()).into()
        }
    }
}

const fn client_segment(topology: Topology) -> u8 {
    match topology {
        Topology::OneArmed => 77,
        Topology::TwoArmed => 76,
    }
}

#[must_use]
pub fn client(topology: Topology, family: Family) -> IpAddr {
    on(client_segment(topology), 10, family)
}

/// The balancer's address on the clients' side.
#[must_use]
pub fn balancer_front(topology: Topology, family: Family) -> IpAddr {
    on(client_segment(topology), 2, family)
}

/// The balancer's address on the backends' side; the same as the front when one-armed.
#[must_use]
pub fn balancer_back(family: Family) -> IpAddr {
    on(77, 2, family)
}

#[must_use]
pub fn backend(index: usize, family: Family) -> IpAddr {
    on(77, 20 + index as u8, family)
}

/// A service address; `index` from 1.
#[must_use]
pub fn vip(index: u8, family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(192, 0, 2, index).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, index.into()).into(),
    }
}

/// Source of the client's flow number `n`: no two flows below 3 · 10⁹ share one, and flows in a row have different
/// addresses.
#[must_use]
pub fn flow_source(n: u32, family: Family) -> SocketAddr {
    let host = n % CLIENTS + 1;
    let port = FIRST_PORT + (n / CLIENTS % PORTS) as u16;
    let ip: IpAddr = match family {
        Family::V4 => Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 78, 0, 0)) + host).into(),
        Family::V6 => Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, (host >> 16) as u16, host as u16).into(),
    };
    SocketAddr::new(ip, port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_as_the_table_says() {
        assert_eq!(backend(0, Family::V4).to_string(), "10.77.0.20");
        assert_eq!(backend(1, Family::V6).to_string(), "fd77::15");
        assert_eq!(client(Topology::TwoArmed, Family::V6).to_string(), "fd76::a");
        assert_eq!(flow_source(0, Family::V4).to_string(), "10.78.0.1:10000");
        assert_eq!(flow_source(60_001, Family::V6).to_string(), "[fd78::2]:10001");
    }
}
