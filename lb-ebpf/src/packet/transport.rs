//! TCP (RFC 9293), UDP (RFC 768) and the two ICMPs as far as balancing needs them.

use aya_ebpf::programs::XdpContext;
use lb_common::net::{Be16, proto};
use lb_common::reason::Reason;

use super::header::{Tcp, Udp};
use super::{Packet, Parsed, access};

/// Reads the header at `l4`, after which (and including which) `room` bytes belong to the packet.
#[inline(always)]
pub fn parse(ctx: &XdpContext, packet: &mut Packet, protocol: u8, l4: usize, room: usize) -> Parsed {
    let parsed = match protocol {
        proto::TCP => tcp(ctx, l4, room),
        proto::UDP => udp(ctx, packet.v4, l4, room),
        proto::ICMP if packet.v4 => icmp(room),
        proto::ICMPV6 if !packet.v4 => icmp(room),
        _ => Err(Reason::Unsupported),
    };
    match parsed {
        Ok((src_port, dst_port, tcp_flags)) => {
            packet.tuple.src_port = src_port;
            packet.tuple.dst_port = dst_port;
            packet.tcp_flags = tcp_flags;
            Parsed::Packet
        }
        Err(reason) => Parsed::Bad(reason),
    }
}

type Ports = (Be16, Be16, u8);

#[inline(always)]
fn tcp(ctx: &XdpContext, l4: usize, room: usize) -> Result<Ports, Reason> {
    if room < 20 {
        return Err(Reason::Malformed);
    }
    let Some(tcp) = access::at::<Tcp>(ctx, l4) else { return Err(Reason::Malformed) };
    // SAFETY: `at` checked the bounds of the header.
    let tcp = unsafe { &*tcp };
    let header = usize::from(tcp.data_offset >> 4) * 4;
    if header < 20 || header > room {
        return Err(Reason::Malformed);
    }
    Ok((Be16(tcp.src_port), Be16(tcp.dst_port), tcp.flags))
}

#[inline(always)]
fn udp(ctx: &XdpContext, v4: bool, l4: usize, room: usize) -> Result<Ports, Reason> {
    if room < 8 {
        return Err(Reason::Malformed);
    }
    let Some(udp) = access::at::<Udp>(ctx, l4) else { return Err(Reason::Malformed) };
    // SAFETY: `at` checked the bounds of the header.
    let udp = unsafe { &*udp };
    let length = u16::from_be(udp.length) as usize;
    // RFC 8200 §8.1: over IPv6 the checksum is not optional.
    if length < 8 || length > room || (!v4 && udp.check == 0) {
        return Err(Reason::Malformed);
    }
    Ok((Be16(udp.src_port), Be16(udp.dst_port), 0))
}

#[inline(always)]
fn icmp(room: usize) -> Result<Ports, Reason> {
    if room < 8 { Err(Reason::Malformed) } else { Ok((Be16(0), Be16(0), 0)) }
}
