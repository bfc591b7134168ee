//! Numbers in network byte order as types of their own, and one address type for both families.

use crate::plain::plain;

/// A 16-bit number in network byte order, as it stands in a packet.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Be16(pub u16);
plain!(Be16, 2, { 0: u16 });

impl Be16 {
    #[inline(always)]
    #[must_use]
    pub const fn from_host(v: u16) -> Self {
        Self(v.to_be())
    }
    #[inline(always)]
    #[must_use]
    pub const fn host(self) -> u16 {
        u16::from_be(self.0)
    }
}

/// A 32-bit number in network byte order, as it stands in a packet.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Be32(pub u32);
plain!(Be32, 4, { 0: u32 });

impl Be32 {
    #[inline(always)]
    #[must_use]
    pub const fn from_host(v: u32) -> Self {
        Self(v.to_be())
    }
    #[inline(always)]
    #[must_use]
    pub const fn host(self) -> u32 {
        u32::from_be(self.0)
    }
}

/// An IPv6 address, or an IPv4 address in its mapped form `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2); four 32-bit words in
/// network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Addr(pub [u32; 4]);
plain!(Addr, 16, { 0: [u32; 4] });

/// The third word of a mapped IPv4 address.
const MAPPED: u32 = 0x0000_ffff_u32.to_be();

impl Addr {
    pub const UNSPECIFIED: Self = Self([0; 4]);

    #[inline(always)]
    #[must_use]
    pub const fn v4(word: Be32) -> Self {
        Self([0, 0, MAPPED, word.0])
    }
    #[inline(always)]
    #[must_use]
    pub const fn is_v4(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == MAPPED
    }
    /// The IPv4 address; meaningful only if [`Addr::is_v4`].
    #[inline(always)]
    #[must_use]
    pub const fn as_v4(&self) -> Be32 {
        Be32(self.0[3])
    }
    /// The sixteen bytes in network order.
    #[must_use]
    pub const fn octets(&self) -> [u8; 16] {
        let [a, b, c, d] = self.0;
        let (a, b, c, d) = (a.to_ne_bytes(), b.to_ne_bytes(), c.to_ne_bytes(), d.to_ne_bytes());
        [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]]
    }
    /// From sixteen bytes in network order.
    #[must_use]
    pub const fn from_octets(o: [u8; 16]) -> Self {
        Self([
            u32::from_ne_bytes([o[0], o[1], o[2], o[3]]),
            u32::from_ne_bytes([o[4], o[5], o[6], o[7]]),
            u32::from_ne_bytes([o[8], o[9], o[10], o[11]]),
            u32::from_ne_bytes([o[12], o[13], o[14], o[15]]),
        ])
    }
}

impl From<core::net::IpAddr> for Addr {
    fn from(ip: core::net::IpAddr) -> Self {
        match ip {
            core::net::IpAddr::V4(v4) => Self::v4(Be32(u32::from_ne_bytes(v4.octets()))),
            core::net::IpAddr::V6(v6) => Self::from_octets(v6.octets()),
        }
    }
}

impl From<Addr> for core::net::IpAddr {
    fn from(a: Addr) -> Self {
        if a.is_v4() {
            Self::V4(core::net::Ipv4Addr::from(a.as_v4().0.to_ne_bytes()))
        } else {
            Self::V6(core::net::Ipv6Addr::from(a.octets()))
        }
    }
}

/// IP protocol numbers (IANA) that the balancer knows.
pub mod proto {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ICMPV6: u8 = 58;
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;

    #[test]
    fn addresses_survive_both_families() {
        for text in ["192.0.2.10", "255.255.255.255", "2001:db8::1", "::1"] {
            let ip: IpAddr = text.parse().expect("literal");
            let addr = Addr::from(ip);
            assert_eq!(addr.is_v4(), ip.is_ipv4());
            assert_eq!(IpAddr::from(addr), ip);
        }
    }

    #[test]
    fn octets_stand_in_network_order() {
        let addr = Addr::from("192.0.2.10".parse::<IpAddr>().expect("literal"));
        assert_eq!(addr.octets()[10..], [0xff, 0xff, 192, 0, 2, 10]);
        assert_eq!(Be16::from_host(0x1234).0.to_ne_bytes(), [0x12, 0x34]);
    }
}
