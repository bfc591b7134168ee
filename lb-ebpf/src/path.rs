//! A packet's path, top to bottom: parse, whose is it, do we know it, may it pass, which backend, change it, send it.

use aya_ebpf::programs::XdpContext;
use lb_common::backend::{Backend, flag as backend_flag};
use lb_common::flow::{Flow, side, state};
use lb_common::net::{Be16, proto};
use lb_common::reason::Reason;
use lb_common::service::{Service, flag, forward};

use crate::emit::{self, Outcome};
use crate::flow::{self, Carried, Found, pair, promote, table, tcp, track};
use crate::forward::nat::{self, Ends};
use crate::forward::{echo, icmp_error, mss, reset};
use crate::maps::{BACKENDS, PACKET, SCRATCH, SERVICE, SETTINGS};
use crate::packet::header::{Icmp, tcp_flag};
use crate::packet::{self, Packet, Parsed, access};
use crate::{clock, count, guard, select, service};

/// Decides what becomes of one packet.
#[inline(always)]
pub fn run(ctx: &XdpContext) -> Outcome {
    let Some(view) = PACKET.get_ptr_mut(0) else { return Outcome::stop(0, Reason::NotOurs) };
    // SAFETY: this CPU's own view, used by nobody else until the program ends.
    let view = unsafe { &mut *view };
    let parsed = packet::parse(ctx, view);
    let packet = packet::settled(view);
    match parsed {
        Parsed::Packet => balance(ctx, packet),
        Parsed::Other => Outcome::stop(0, Reason::NotOurs),
        Parsed::Bad(reason) => {
            Outcome::stop(0, if service::is_vip(&packet.tuple.dst) { reason } else { Reason::NotOurs })
        }
    }
}

#[inline(always)]
fn balance(ctx: &XdpContext, packet: &Packet) -> Outcome {
    let protocol = packet.protocol();
    if protocol != proto::TCP && protocol != proto::UDP {
        return icmp(ctx, packet);
    }
    let now = clock::ticks();
    // Established flows are asked first: one look-up then tells flow, service and backend, whichever way the packet goes.
    let found = match table::established(&packet.tuple, packet.v4) {
        Some(flow) => Found { flow, fresh: false },
        None => {
            let number = service::find(&packet.tuple, packet.v4);
            if number == 0 && !is_nat_port(packet.tuple.dst_port) {
                return Outcome::stop(0, Reason::NotOurs);
            }
            match table::fresh(&packet.tuple, packet.v4) {
                Some(flow) => Found { flow, fresh: true },
                None if number == 0 => return Outcome::stop(0, Reason::NotOurs),
                None => return open(ctx, packet, number, now),
            }
        }
    };
    of_flow(ctx, packet, &found, now)
}

/// A packet of a known flow, from either side.
#[inline(always)]
fn of_flow(ctx: &XdpContext, packet: &Packet, found: &Found, now: u32) -> Outcome {
    // SAFETY: a valid pointer to a map value; who races is said at `Flow`.
    let entry = unsafe { &mut *found.flow };
    let number = u32::from(entry.service);
    let (Some(service), Some(backend)) = (SERVICE.get(number), BACKENDS.get(entry.backend)) else {
        return Outcome::stop(number, Reason::BackendGone);
    };
    let party = Party { number, service, backend };
    if entry.side == side::REPLY {
        from_backend(ctx, packet, party, found, now)
    } else {
        from_client(ctx, packet, party, found, now)
    }
}

/// A client's packet of a known flow.
#[inline(always)]
fn from_client(ctx: &XdpContext, packet: &Packet, party: Party<'_>, found: &Found, now: u32) -> Outcome {
    // SAFETY: a valid pointer to a map value; who races is said at `Flow`.
    let entry = unsafe { &mut *found.flow };
    match known(packet, entry, party.backend) {
        Known::Carry => carry(ctx, packet, party, found, now),
        Known::Reset => refuse(ctx, packet, entry, party.number, party.service),
        Known::Anew => {
            track::forget(packet, entry, party.service);
            match service::find(&packet.tuple, packet.v4) {
                0 => Outcome::stop(party.number, Reason::BackendGone),
                number => open(ctx, packet, number, now),
            }
        }
    }
}

/// Service and backend of a packet.
struct Party<'a> {
    number: u32,
    service: &'a Service,
    backend: &'a Backend,
}

/// What a known flow's packet asks for.
enum Known {
    Carry,
    /// A new flow takes its place.
    Anew,
    /// Its backend is gone, and TCP has to be told.
    Reset,
}

#[inline(always)]
fn known(packet: &Packet, entry: &Flow, backend: &Backend) -> Known {
    let lost = is_lost(backend);
    let down = lost || backend.flags & backend_flag::DOWN != 0;
    if packet.protocol() == proto::UDP {
        return if down || entry.state == state::RESET { Known::Anew } else { Known::Carry };
    }
    if tcp::opens(packet.tcp_flags) && (down || tcp::is_reusable(entry.state, entry.seen)) {
        return Known::Anew;
    }
    if lost { Known::Reset } else { Known::Carry }
}

/// Carries a known flow's packet.
#[inline(always)]
fn carry(ctx: &XdpContext, packet: &Packet, party: Party<'_>, found: &Found, now: u32) -> Outcome {
    // SAFETY: a valid pointer to a map value; who races is said at `Flow`.
    let entry = unsafe { &mut *found.flow };
    let (before, last_seen) = (entry.state, entry.last_seen);
    let carried = Carried { backend: entry.backend, peer: entry.peer, peer_port: entry.peer_port };
    track::touch(entry, packet, now);
    if !tcp::is_plain(packet.tcp_flags) || before < state::ESTABLISHED {
        track::follow(packet, entry, party.service, packet.tcp_flags);
    }
    if flow::new_window(now, last_seen) {
        upkeep(ctx, packet, &party, found, now);
    }
    if found.fresh && promote::is_due(packet, entry, before, last_seen, now) {
        promote::promote(ctx, packet, entry, party.service);
    }
    forward_on(ctx, packet, &party, &carried, false)
}

/// What is done once a window: the flow's other half is made sure of, the client's affinity kept alive.
#[inline(never)]
fn upkeep(ctx: &XdpContext, packet: &Packet, party: &Party<'_>, found: &Found, now: u32) {
    // SAFETY: a valid pointer to a map value; who races is said at `Flow`.
    let entry = unsafe { &*found.flow };
    if party.service.forward == forward::NAT {
        pair::heal(ctx, packet, entry, party.service, found.fresh);
    }
    if party.service.flags & flag::AFFINITY != 0 {
        select::refresh(packet, party.number, entry.backend, now);
    }
}

/// Refuses a packet of a flow whose backend is gone.
#[inline(never)]
fn refuse(ctx: &XdpContext, packet: &Packet, entry: &mut Flow, number: u32, service: &Service) -> Outcome {
    track::follow(packet, entry, service, tcp_flag::RST);
    match reset::answer(ctx, packet) {
        Some(()) => Outcome::send(number, Reason::Reset, 0),
        None => Outcome::stop(number, Reason::BackendGone),
    }
}

/// Opens a flow: guard, select, enter, forward.
#[inline(never)]
fn open(ctx: &XdpContext, packet: &Packet, number: u32, now: u32) -> Outcome {
    let Some(service) = SERVICE.get(number) else { return Outcome::stop(0, Reason::NotOurs) };
    let opens = packet.protocol() == proto::UDP || tcp::opens(packet.tcp_flags);
    if !opens && !may_join(packet, service) {
        return Outcome::stop(number, Reason::NoFlow);
    }
    if let Err(reason) = guard::admit(number, service, &packet.tuple.src) {
        return Outcome::stop(number, reason);
    }
    let chosen = select::pick(packet, number, service, now);
    let Some(backend) = BACKENDS.get(chosen) else { return Outcome::stop(number, Reason::NoBackend) };
    if chosen == 0 || backend.flags & backend_flag::EXISTS == 0 {
        return Outcome::stop(number, Reason::NoBackend);
    }
    if backend.flags & backend_flag::REACHABLE == 0 {
        return Outcome::stop(number, Reason::NoNeighbour);
    }
    let ids = pair::Ids { service: number as u16, state: pair::first_state(packet.protocol(), opens), backend: chosen };
    if let Err(reason) = pair::create(ctx, packet, service, ids, now) {
        return Outcome::stop(number, reason);
    }
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return Outcome::stop(number, Reason::FlowTableFull) };
    // SAFETY: this CPU's own scratch, as `create` left it.
    let entry = unsafe { &(*scratch).forward };
    let carried = Carried { backend: chosen, peer: entry.peer, peer_port: entry.peer_port };
    forward_on(ctx, packet, &Party { number, service, backend }, &carried, true)
}

/// May a TCP packet in mid-stream be given a backend? Only where any balancer would choose the same one and the packet
/// reaches it unchanged: so flows survive when another balancer takes over.
#[inline(always)]
fn may_join(packet: &Packet, service: &Service) -> bool {
    use lb_common::service::algorithm::{MAGLEV, SOURCE_HASH};
    service.forward != forward::NAT
        && packet.tcp_flags & (tcp_flag::SYN | tcp_flag::RST) == 0
        && (service.algorithm == MAGLEV || service.algorithm == SOURCE_HASH)
}

/// Changes the packet and sends it to its backend.
#[inline(always)]
fn forward_on(ctx: &XdpContext, packet: &Packet, party: &Party<'_>, carried: &Carried, new_flow: bool) -> Outcome {
    if party.backend.flags & backend_flag::REACHABLE == 0 {
        return Outcome::stop(party.number, Reason::NoNeighbour);
    }
    if party.service.mss != 0 && packet.tcp_flags & tcp_flag::SYN != 0 {
        mss::clamp(ctx, packet, party.service.mss);
    }
    if party.service.forward == forward::NAT {
        let ends = Ends {
            src: carried.peer,
            src_port: carried.peer_port,
            dst: party.backend.addr,
            dst_port: pair::backend_port(party.backend, packet.tuple.dst_port),
        };
        if nat::rewrite(ctx, packet, &ends).is_none() {
            return Outcome::stop(party.number, Reason::Malformed);
        }
    }
    match emit::to_next_hop(ctx, party.backend) {
        Some(ifindex) => {
            count::to_backend(party.number, carried.backend, packet.len, new_flow);
            Outcome::send(party.number, Reason::Forwarded, ifindex)
        }
        None => Outcome::stop(party.number, Reason::Malformed),
    }
}

/// A backend's answer to a source address of ours.
#[inline(always)]
fn from_backend(ctx: &XdpContext, packet: &Packet, party: Party<'_>, found: &Found, now: u32) -> Outcome {
    if is_lost(party.backend) && packet.protocol() == proto::TCP {
        // SAFETY: a valid pointer to a map value; who races is said at `Flow`.
        let entry = unsafe { &mut *found.flow };
        return refuse(ctx, packet, entry, party.number, party.service);
    }
    give_back(ctx, packet, party, found, now)
}

/// Removed, or past its drain deadline.
#[inline(always)]
fn is_lost(backend: &Backend) -> bool {
    backend.flags & (backend_flag::EXPIRED | backend_flag::EXISTS) != backend_flag::EXISTS
}

#[inline(always)]
fn is_nat_port(port: Be16) -> bool {
    SETTINGS.get(0).is_some_and(|s| port.host().wrapping_sub(s.nat_first) < s.nat_count)
}

/// Sends a backend's answer to the client, from the address the client spoke to.
#[inline(always)]
fn give_back(ctx: &XdpContext, packet: &Packet, party: Party<'_>, found: &Found, now: u32) -> Outcome {
    let Party { number, service, .. } = party;
    // SAFETY: a valid pointer to a map value; who races is said at `Flow`.
    let entry = unsafe { &mut *found.flow };
    let last_seen = entry.last_seen;
    track::touch(entry, packet, now);
    if !tcp::is_plain(packet.tcp_flags) {
        track::follow(packet, entry, service, packet.tcp_flags);
    }
    if flow::new_window(now, last_seen) {
        pair::heal(ctx, packet, entry, service, found.fresh);
    }
    if service.mss != 0 && packet.tcp_flags & tcp_flag::SYN != 0 {
        mss::clamp(ctx, packet, service.mss);
    }
    let ends = Ends { src: service.vip, src_port: entry.vip_port, dst: entry.peer, dst_port: entry.peer_port };
    if nat::rewrite(ctx, packet, &ends).is_none() {
        return Outcome::stop(number, Reason::Malformed);
    }
    match emit::to_client(ctx, &entry.mac, entry.ifindex) {
        Some(ifindex) => Outcome::send(number, Reason::Returned, ifindex),
        None => Outcome::stop(number, Reason::NoNeighbour),
    }
}

/// ICMP to an address of ours: echo is answered, errors are steered, the rest is the kernel's.
#[inline(never)]
fn icmp(ctx: &XdpContext, packet: &Packet) -> Outcome {
    let not_ours = Outcome::stop(0, Reason::NotOurs);
    let role = service::role(&packet.tuple.dst);
    if role == 0 {
        return not_ours;
    }
    let Some(header) = access::read::<Icmp>(ctx, packet.l4) else { return not_ours };
    if icmp_error::is_error(packet.v4, header.kind) {
        return icmp_error::steer(ctx, packet);
    }
    let request = if packet.v4 { echo::REQUEST4 } else { echo::REQUEST6 };
    let vip = role & lb_common::service::address::VIP != 0;
    if vip && header.kind == request && header.code == 0 && echo::answer(ctx, packet).is_some() {
        return Outcome::send(0, Reason::EchoReply, 0);
    }
    not_ours
}
