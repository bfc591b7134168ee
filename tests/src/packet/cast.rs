//! Who is who in the packets: addresses and MACs of the clients, the router, the balancer and the backends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::layers::{self, Frame, Mac};

/// The router that clients' packets come through.
pub const ROUTER: Mac = [0x02, 0, 0, 0, 0, 0x01];
/// The balancer's interface.
pub const BALANCER: Mac = [0x02, 0, 0, 0, 0, 0x02];
/// The balancer's other interface, where the backends of [`FAR`] are.
pub const BALANCER_FAR: Mac = [0x02, 0, 0, 0, 0, 0x03];
/// The interface that test runs seem to come in on: loopback.
pub const HERE: u32 = 1;
/// Another interface; packets to it are redirected.
pub const FAR: u32 = 77;

/// MAC of backend `n`'s next hop.
#[must_use]
pub const fn backend_mac(n: u32) -> Mac {
    let [_, _, a, b] = n.to_be_bytes();
    [0x02, 0, 0, 1, a, b]
}

/// The IP family of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    V4,
    V6,
}

pub const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

impl Family {
    fn pick(self, v4: [u8; 4], v6: u16) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::from(v4)),
            Self::V6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, v6 >> 8, v6 & 0xff)),
        }
    }
    /// The address that services listen on.
    #[must_use]
    pub fn vip(self) -> IpAddr {
        self.pick([192, 0, 2, 10], 0x0010)
    }
    /// An address in the VIPs' network that is not ours.
    #[must_use]
    pub fn stranger(self) -> IpAddr {
        self.pick([192, 0, 2, 99], 0x0099)
    }
    /// Client number `n`.
    #[must_use]
    pub fn client(self, n: u8) -> IpAddr {
        self.pick([198, 51, 100, n], 0x0100 | u16::from(n))
    }
    /// Source address of NAT number `n`.
    #[must_use]
    pub fn snat(self, n: u8) -> IpAddr {
        self.pick([10, 0, 0, n], 0x0a00 | u16::from(n))
    }
    /// Backend number `n`.
    #[must_use]
    pub fn backend(self, n: u8) -> IpAddr {
        self.pick([10, 0, 1, n], 0x0b00 | u16::from(n))
    }
    /// A router on the way that reports errors.
    #[must_use]
    pub fn reporter(self) -> IpAddr {
        self.pick([203, 0, 113, 1], 0x0c01)
    }
    #[must_use]
    pub const fn icmp(self) -> u8 {
        match self {
            Self::V4 => lb_common::net::proto::ICMP,
            Self::V6 => lb_common::net::proto::ICMPV6,
        }
    }
    /// A packet from client 1 to the VIP, as it reaches the balancer.
    #[must_use]
    pub fn to_vip(self) -> Frame {
        layers::ip(ROUTER, BALANCER, self.client(1), self.vip())
    }
    /// A packet from backend `n` to NAT's first source address.
    #[must_use]
    pub fn to_snat(self, n: u8) -> Frame {
        layers::ip(backend_mac(u32::from(n)), BALANCER, self.backend(n), self.snat(1))
    }
}
