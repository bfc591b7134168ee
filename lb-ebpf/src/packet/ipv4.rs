//! IPv4 (RFC 791), with options.

use aya_ebpf::programs::XdpContext;
use lb_common::net::{Addr, Be32};
use lb_common::reason::Reason;

use super::header::{IPV4_FRAGMENT, Ipv4};
use super::{Packet, Parsed, access, transport};

#[inline(always)]
pub fn parse(ctx: &XdpContext, l3: usize, packet: &mut Packet) -> Parsed {
    let Some(ip) = access::at::<Ipv4>(ctx, l3) else { return Parsed::Other };
    // SAFETY: `at` checked the bounds of the header.
    let ip = unsafe { &*ip };
    packet.tuple.src = Addr::v4(Be32(ip.src));
    packet.tuple.dst = Addr::v4(Be32(ip.dst));
    packet.tuple.protocol = u32::from(ip.protocol);
    packet.v4 = true;
    let header = usize::from(ip.version_ihl & 0x0f) * 4;
    let len = u16::from_be(ip.total_length) as usize;
    let available = access::length(ctx) - l3;
    if ip.version_ihl >> 4 != 4 || header < 20 || len < header || len > available {
        return Parsed::Bad(Reason::Malformed);
    }
    if ip.fragment & IPV4_FRAGMENT != 0 {
        return Parsed::Bad(Reason::Fragment);
    }
    packet.len = len as u32;
    packet.l4 = l3 + header;
    transport::parse(ctx, packet, ip.protocol, l3 + header, len - header)
}
