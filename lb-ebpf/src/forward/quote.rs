//! The packet that an ICMP error quotes (RFC 792; RFC 4443 §2.4): found, and rewritten along with its own checksums.

use aya_ebpf::programs::XdpContext;
use lb_common::checksum::{replace16, replace32, update};
use lb_common::flow::FlowKey6;
use lb_common::net::{Addr, Be16, Be32, proto};

use super::nat::Ends;
use crate::packet::access;
use crate::packet::header::{IPV4_FRAGMENT, Ipv4, Ipv6};

/// A quoted packet: its ends as they stand in the quote, and where its headers are.
pub struct Quote {
    pub tuple: FlowKey6,
    pub l3: usize,
    pub l4: usize,
    pub v4: bool,
    /// Offset of the first byte after the quote.
    pub end: usize,
}

/// Reads the quote at `l3`. `None`: not TCP or UDP, a later fragment, or too short to tell its ports.
#[inline(always)]
pub fn read(ctx: &XdpContext, l3: usize, v4: bool, end: usize) -> Option<Quote> {
    let mut quote = if v4 { read4(ctx, l3, end)? } else { read6(ctx, l3, end)? };
    if quote.tuple.protocol != u32::from(proto::TCP) && quote.tuple.protocol != u32::from(proto::UDP) {
        return None;
    }
    if quote.l4 + 8 > end {
        return None;
    }
    let ports = access::read::<[u16; 2]>(ctx, quote.l4)?;
    quote.tuple.src_port = Be16(ports[0]);
    quote.tuple.dst_port = Be16(ports[1]);
    Some(quote)
}

#[inline(always)]
fn read4(ctx: &XdpContext, l3: usize, end: usize) -> Option<Quote> {
    let ip = access::read::<Ipv4>(ctx, l3)?;
    let header = usize::from(ip.version_ihl & 0x0f) * 4;
    // The first fragment has the ports; only an offset rules a quote out.
    if ip.version_ihl >> 4 != 4 || header < 20 || ip.fragment & IPV4_FRAGMENT & 0x1fff_u16.to_be() != 0 {
        return None;
    }
    let tuple = FlowKey6 {
        src: Addr::v4(Be32(ip.src)),
        dst: Addr::v4(Be32(ip.dst)),
        protocol: u32::from(ip.protocol),
        ..FlowKey6::default()
    };
    Some(Quote { tuple, l3, l4: l3 + header, v4: true, end })
}

#[inline(always)]
fn read6(ctx: &XdpContext, l3: usize, end: usize) -> Option<Quote> {
    let ip = access::read::<Ipv6>(ctx, l3)?;
    let tuple =
        FlowKey6 { src: Addr(ip.src), dst: Addr(ip.dst), protocol: u32::from(ip.next_header), ..FlowKey6::default() };
    Some(Quote { tuple, l3, l4: l3 + 40, v4: false, end })
}

/// Puts other ends into the quote; returns what all changes contribute to the ICMP checksum around it.
#[inline(always)]
pub fn rewrite(ctx: &XdpContext, quote: &Quote, ends: &Ends) -> Option<u64> {
    let (pseudo, around) = if quote.v4 { addresses4(ctx, quote, ends)? } else { addresses6(ctx, quote, ends)? };
    let ports = access::at::<[u16; 2]>(ctx, quote.l4)?;
    // SAFETY: `at` checked the bounds.
    let ports = unsafe { &mut *ports };
    let diff = replace16(ports[0], ends.src_port.0) + replace16(ports[1], ends.dst_port.0);
    *ports = [ends.src_port.0, ends.dst_port.0];
    Some(around + diff + transport_check(ctx, quote, pseudo + diff))
}

/// Returns the contributions to the quoted transport checksum, and to the ICMP checksum.
#[inline(always)]
fn addresses4(ctx: &XdpContext, quote: &Quote, ends: &Ends) -> Option<(u64, u64)> {
    let ip = access::at::<Ipv4>(ctx, quote.l3)?;
    // SAFETY: `at` checked the bounds of the header.
    let ip = unsafe { &mut *ip };
    let (src, dst) = (ends.src.as_v4().0, ends.dst.as_v4().0);
    let diff = replace32(ip.src, src) + replace32(ip.dst, dst);
    ip.src = src;
    ip.dst = dst;
    let check = update(ip.check, diff);
    let around = diff + replace16(ip.check, check);
    ip.check = check;
    Some((diff, around))
}

#[inline(always)]
fn addresses6(ctx: &XdpContext, quote: &Quote, ends: &Ends) -> Option<(u64, u64)> {
    let ip = access::at::<Ipv6>(ctx, quote.l3)?;
    // SAFETY: `at` checked the bounds of the header.
    let ip = unsafe { &mut *ip };
    let mut diff = 0;
    for i in 0..4 {
        diff += replace32(ip.src[i], ends.src.0[i]) + replace32(ip.dst[i], ends.dst.0[i]);
    }
    ip.src = ends.src.0;
    ip.dst = ends.dst.0;
    Some((diff, diff))
}

/// Updates the quoted transport checksum if the quote reaches that far; returns the contribution of its change.
#[inline(always)]
fn transport_check(ctx: &XdpContext, quote: &Quote, diff: u64) -> u64 {
    let udp = quote.tuple.protocol == u32::from(proto::UDP);
    let at = quote.l4 + if udp { 6 } else { 16 };
    if at + 2 > quote.end {
        return 0;
    }
    let Some(check) = access::at::<u16>(ctx, at) else { return 0 };
    // SAFETY: `at` checked the bounds.
    let check = unsafe { &mut *check };
    if udp && *check == 0 {
        return 0;
    }
    let old = *check;
    let new = update(old, diff);
    *check = if udp && new == 0 { 0xffff } else { new };
    replace16(old, *check)
}
