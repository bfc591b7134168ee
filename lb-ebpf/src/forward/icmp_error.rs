//! ICMP errors about a flow reach its other end, with the quoted packet rewritten to what that end had sent.

use aya_ebpf::programs::XdpContext;
use lb_common::backend::{Backend, flag as backend_flag};
use lb_common::checksum::update;
use lb_common::flow::{Flow, FlowKey6, side};
use lb_common::net::Addr;
use lb_common::reason::Reason;
use lb_common::service::{Service, forward};

use super::nat::Ends;
use super::quote::{self, Quote};
use crate::emit::{self, Outcome};
use crate::flow::{self, pair};
use crate::maps::{BACKENDS, SERVICE};
use crate::packet::header::{Icmp, Ipv4, Ipv6};
use crate::packet::{Packet, access};

/// Destination unreachable, source quench, time exceeded, parameter problem (RFC 792).
#[inline(always)]
const fn is_error4(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 11 | 12)
}

/// Destination unreachable, packet too big, time exceeded, parameter problem (RFC 4443 §3).
#[inline(always)]
const fn is_error6(kind: u8) -> bool {
    matches!(kind, 1..=4)
}

#[inline(always)]
pub const fn is_error(v4: bool, kind: u8) -> bool {
    if v4 { is_error4(kind) } else { is_error6(kind) }
}

/// Steers an error to the flow's other end. The quote shows the flow's packet as it left us, so looked at backwards it is
/// the key of the half that comes in.
#[inline(never)]
pub fn steer(ctx: &XdpContext, packet: &Packet) -> Outcome {
    let unknown = Outcome::stop(0, Reason::UnknownQuote);
    let Some(quote) = quote::read(ctx, packet.l4 + 8, packet.v4, packet.end()) else { return unknown };
    let t = &quote.tuple;
    let key = FlowKey6 { src: t.dst, dst: t.src, src_port: t.dst_port, dst_port: t.src_port, protocol: t.protocol };
    let Some(found) = flow::find(&key, packet.v4) else { return unknown };
    // SAFETY: a valid pointer to a map value, only read here.
    let flow = unsafe { &*found.flow };
    let number = u32::from(flow.service);
    let Some(service) = SERVICE.get(number) else { return unknown };
    let Some(backend) = BACKENDS.get(flow.backend) else { return unknown };
    if flow.side == side::FORWARD {
        to_backend(ctx, packet, &quote, Parties { number, flow, service, backend })
    } else {
        to_client(ctx, packet, &quote, Parties { number, flow, service, backend })
    }
}

struct Parties<'a> {
    number: u32,
    flow: &'a Flow,
    service: &'a Service,
    backend: &'a Backend,
}

/// About a packet VIP → client: the backend sent it, with DSR as it stands, with NAT from its own address to ours.
#[inline(always)]
fn to_backend(ctx: &XdpContext, packet: &Packet, quote: &Quote, p: Parties<'_>) -> Outcome {
    if p.backend.flags & backend_flag::REACHABLE == 0 {
        return Outcome::stop(p.number, Reason::NoNeighbour);
    }
    if p.service.forward == forward::NAT {
        let ends = Ends {
            src: p.backend.addr,
            src_port: pair::backend_port(p.backend, p.flow.vip_port),
            dst: p.flow.peer,
            dst_port: p.flow.peer_port,
        };
        if rewrite(ctx, packet, quote, &ends, &packet.tuple.src, &p.backend.addr).is_none() {
            return Outcome::stop(p.number, Reason::Malformed);
        }
    }
    match emit::to_next_hop(ctx, p.backend) {
        Some(ifindex) => Outcome::send(p.number, Reason::IcmpForwarded, ifindex),
        None => Outcome::stop(p.number, Reason::Malformed),
    }
}

/// About a packet source address → backend: the client sent it, to the VIP. An error of the backend itself comes from the
/// VIP then; a router's keeps its source.
#[inline(always)]
fn to_client(ctx: &XdpContext, packet: &Packet, quote: &Quote, p: Parties<'_>) -> Outcome {
    let ends = Ends { src: p.flow.peer, src_port: p.flow.peer_port, dst: p.service.vip, dst_port: p.flow.vip_port };
    let source = if packet.tuple.src == p.backend.addr { p.service.vip } else { packet.tuple.src };
    if rewrite(ctx, packet, quote, &ends, &source, &p.flow.peer).is_none() {
        return Outcome::stop(p.number, Reason::Malformed);
    }
    match emit::to_client(ctx, &p.flow.mac, p.flow.ifindex) {
        Some(ifindex) => Outcome::send(p.number, Reason::IcmpForwarded, ifindex),
        None => Outcome::stop(p.number, Reason::NoNeighbour),
    }
}

/// Rewrites the quote, the outer addresses, and the checksums of both.
#[inline(always)]
fn rewrite(ctx: &XdpContext, packet: &Packet, quote: &Quote, ends: &Ends, src: &Addr, dst: &Addr) -> Option<()> {
    let mut diff = quote::rewrite(ctx, quote, ends)?;
    let outer = outer_addresses(ctx, packet, src, dst)?;
    if !packet.v4 {
        // ICMPv6 has a pseudo-header (RFC 4443 §2.3), ICMP has none.
        diff += outer;
    }
    let icmp = access::at::<Icmp>(ctx, packet.l4)?;
    // SAFETY: `at` checked the bounds of the header.
    unsafe { (*icmp).check = update((*icmp).check, diff) };
    Some(())
}

#[inline(always)]
fn outer_addresses(ctx: &XdpContext, packet: &Packet, src: &Addr, dst: &Addr) -> Option<u64> {
    use lb_common::checksum::replace32;
    let mut diff = 0;
    if packet.v4 {
        let ip = access::at::<Ipv4>(ctx, packet.l3)?;
        // SAFETY: `at` checked the bounds of the header.
        let ip = unsafe { &mut *ip };
        diff += replace32(ip.src, src.as_v4().0) + replace32(ip.dst, dst.as_v4().0);
        ip.src = src.as_v4().0;
        ip.dst = dst.as_v4().0;
        ip.check = update(ip.check, diff);
    } else {
        let ip = access::at::<Ipv6>(ctx, packet.l3)?;
        // SAFETY: `at` checked the bounds of the header.
        let ip = unsafe { &mut *ip };
        for i in 0..4 {
            diff += replace32(ip.src[i], src.0[i]) + replace32(ip.dst[i], dst.0[i]);
        }
        ip.src = src.0;
        ip.dst = dst.0;
    }
    Some(diff)
}
