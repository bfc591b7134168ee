//! NAT: both ends of a packet are replaced, with checksums updated incrementally (RFC 1624).

use aya_ebpf::programs::XdpContext;
use lb_common::checksum::{replace16, replace32, update};
use lb_common::net::{Addr, Be16, proto};

use crate::packet::header::{Ipv4, Ipv6, Tcp, Udp};
use crate::packet::{Packet, access};

/// New source and destination of a packet.
#[derive(Clone, Copy)]
pub struct Ends {
    pub src: Addr,
    pub dst: Addr,
    pub src_port: Be16,
    pub dst_port: Be16,
}

/// Rewrites addresses and ports in place; `None` if the packet is shorter than parsing found it, which cannot be.
#[inline(always)]
pub fn rewrite(ctx: &XdpContext, packet: &Packet, ends: &Ends) -> Option<()> {
    let diff = if packet.v4 { addresses4(ctx, packet, ends)? } else { addresses6(ctx, packet, ends)? };
    match packet.protocol() {
        proto::TCP => ports_tcp(ctx, packet, ends, diff),
        _ => ports_udp(ctx, packet, ends, diff),
    }
}

/// Returns what the change contributes to the transport checksum's pseudo-header.
#[inline(always)]
fn addresses4(ctx: &XdpContext, packet: &Packet, ends: &Ends) -> Option<u64> {
    let ip = access::at::<Ipv4>(ctx, packet.l3)?;
    // SAFETY: `at` checked the bounds of the header.
    let ip = unsafe { &mut *ip };
    let (src, dst) = (ends.src.as_v4().0, ends.dst.as_v4().0);
    let diff = replace32(ip.src, src) + replace32(ip.dst, dst);
    ip.src = src;
    ip.dst = dst;
    ip.check = update(ip.check, diff);
    Some(diff)
}

#[inline(always)]
fn addresses6(ctx: &XdpContext, packet: &Packet, ends: &Ends) -> Option<u64> {
    let ip = access::at::<Ipv6>(ctx, packet.l3)?;
    // SAFETY: `at` checked the bounds of the header.
    let ip = unsafe { &mut *ip };
    let mut diff = 0;
    for i in 0..4 {
        diff += replace32(ip.src[i], ends.src.0[i]) + replace32(ip.dst[i], ends.dst.0[i]);
    }
    ip.src = ends.src.0;
    ip.dst = ends.dst.0;
    Some(diff)
}

#[inline(always)]
fn ports_tcp(ctx: &XdpContext, packet: &Packet, ends: &Ends, diff: u64) -> Option<()> {
    let tcp = access::at::<Tcp>(ctx, packet.l4)?;
    // SAFETY: `at` checked the bounds of the header.
    let tcp = unsafe { &mut *tcp };
    let ports = replace16(tcp.src_port, ends.src_port.0) + replace16(tcp.dst_port, ends.dst_port.0);
    tcp.src_port = ends.src_port.0;
    tcp.dst_port = ends.dst_port.0;
    tcp.check = update(tcp.check, diff + ports);
    Some(())
}

#[inline(always)]
fn ports_udp(ctx: &XdpContext, packet: &Packet, ends: &Ends, diff: u64) -> Option<()> {
    let udp = access::at::<Udp>(ctx, packet.l4)?;
    // SAFETY: `at` checked the bounds of the header.
    let udp = unsafe { &mut *udp };
    let ports = replace16(udp.src_port, ends.src_port.0) + replace16(udp.dst_port, ends.dst_port.0);
    udp.src_port = ends.src_port.0;
    udp.dst_port = ends.dst_port.0;
    // 0 means "no checksum" (RFC 768) and stays so; a sum that comes to 0 is sent as all ones.
    if udp.check != 0 {
        let check = update(udp.check, diff + ports);
        udp.check = if check == 0 { 0xffff } else { check };
    }
    Some(())
}
