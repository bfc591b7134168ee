//! The two halves of a flow: made together, and remade when one is lost.

use aya_ebpf::programs::XdpContext;
use lb_common::backend::Backend;
use lb_common::flow::{Flow, FlowKey6, seen, side, state};
use lb_common::hash;
use lb_common::net::{Be16, proto};
use lb_common::reason::Reason;
use lb_common::service::{Service, forward};
use lb_common::time::age;

use super::table;
use crate::maps::{BACKENDS, SCRATCH, SERVICE, SETTINGS, SNAT, Scratch};
use crate::packet::{Packet, access};

/// Source ports tried before a new flow is refused.
const CLAIM_TRIES: u32 = 16;
/// Ticks (about a second) after which a port of a half-open flow may be given to another.
const RECLAIM_AGE: u32 = 1024;

/// The key of a flow's other half, from the key and value of this one.
#[inline(always)]
pub fn other_key(key: &FlowKey6, flow: &Flow, service: &Service, out: &mut FlowKey6) -> bool {
    out.protocol = key.protocol;
    if flow.side == side::REPLY {
        out.src = flow.peer;
        out.dst = service.vip;
        out.src_port = flow.peer_port;
        out.dst_port = flow.vip_port;
        return true;
    }
    let Some(backend) = BACKENDS.get(flow.backend) else { return false };
    out.src = backend.addr;
    out.dst = flow.peer;
    out.src_port = backend_port(backend, flow.vip_port);
    out.dst_port = flow.peer_port;
    true
}

/// Is `other`, found under the other key of a flow, really that flow's other half? A half that was evicted while the first
/// lived on may have left its port to another flow.
#[inline(always)]
pub fn belongs(key: &FlowKey6, flow: &Flow, other: &Flow) -> bool {
    let (end, port) = if flow.side == side::FORWARD { (&key.src, key.src_port) } else { (&key.dst, key.dst_port) };
    other.side != flow.side && other.peer_port == port && other.peer == *end
}

/// The port a backend is spoken to on.
#[inline(always)]
pub fn backend_port(backend: &Backend, vip_port: Be16) -> Be16 {
    if backend.port.0 == 0 { vip_port } else { backend.port }
}

/// Enters a new flow towards `backend` among the fresh ones; with NAT, claims a source port for it. What the packet needs
/// is left in the scratch's forward half.
#[inline(never)]
pub fn create(ctx: &XdpContext, packet: &Packet, service: &Service, ids: Ids, now: u32) -> Result<(), Reason> {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return Err(Reason::FlowTableFull) };
    // SAFETY: this CPU's own scratch, used by nobody else until the program ends.
    let scratch = unsafe { &mut *scratch };
    fill_forward(scratch, packet, ids, now);
    if service.forward == forward::NAT {
        let Some(backend) = BACKENDS.get(ids.backend) else { return Err(Reason::NoBackend) };
        fill_reply(ctx, scratch, packet);
        claim(scratch, packet, backend)?;
    }
    table::put_fresh(&packet.tuple, packet.v4, &scratch.forward).map_err(|_| Reason::FlowTableFull)
}

/// Numbers of the service and of the backend chosen, and the state to begin in.
#[derive(Clone, Copy)]
pub struct Ids {
    pub service: u16,
    pub state: u8,
    pub backend: u32,
}

#[inline(always)]
fn fill_forward(scratch: &mut Scratch, packet: &Packet, ids: Ids, now: u32) {
    let f = &mut scratch.forward;
    f.packets = 1;
    f.bytes = u64::from(packet.len);
    f.last_seen = now;
    f.created = now;
    f.backend = ids.backend;
    f.service = ids.service;
    f.state = ids.state;
    f.side = side::FORWARD;
    f.vip_port = packet.tuple.dst_port;
    f.peer_port = Be16(0);
    f.seen = 0;
    for word in &mut f.peer.0 {
        // SAFETY: a valid place; volatile, or the compiler makes a call of it (see `flow::copy`).
        unsafe { core::ptr::write_volatile(word, 0) };
    }
}

/// The reply half: where answers go is where the client's packet came from.
#[inline(always)]
fn fill_reply(ctx: &XdpContext, scratch: &mut Scratch, packet: &Packet) {
    let (from, to) = (&scratch.forward, &mut scratch.reply);
    super::copy(from, to);
    to.packets = 0;
    to.bytes = 0;
    to.side = side::REPLY;
    to.peer = packet.tuple.src;
    to.peer_port = packet.tuple.src_port;
    learn(ctx, &mut scratch.reply);
}

#[inline(always)]
fn learn(ctx: &XdpContext, reply: &mut Flow) {
    if let Some(eth) = access::ethernet(ctx) {
        // SAFETY: `ethernet` checked the bounds of the header.
        reply.mac = unsafe { (*eth).src }.bytes();
    }
    reply.ifindex = access::ingress(ctx);
}

/// Claims a source address and port by entering the reply half where there is none: whoever enters it first has it.
///
/// The established table is asked after the claim, not before: a flow that moves there is entered there first and taken
/// from the fresh table later, so one of the two look-ups sees it.
#[inline(always)]
fn claim(scratch: &mut Scratch, packet: &Packet, backend: &Backend) -> Result<(), Reason> {
    let Some(settings) = SETTINGS.get(0) else { return Err(Reason::NatExhausted) };
    let count = u32::from(settings.nat_count);
    let t = &packet.tuple;
    let mut h = hash::of_flow(&t.src, t.src_port, &t.dst, t.dst_port, packet.protocol());
    scratch.reply_key.src = backend.addr;
    scratch.reply_key.src_port = backend_port(backend, t.dst_port);
    scratch.reply_key.protocol = t.protocol;
    for _ in 0..CLAIM_TRIES {
        let port = settings.nat_first.wrapping_add(hash::slot(h, count) as u16);
        let position = u32::from(backend.snat_first) + hash::slot(h.rotate_left(16), u32::from(backend.snat_count));
        let Some(source) = SNAT.get(position) else { return Err(Reason::NatExhausted) };
        if count == 0 || backend.snat_count == 0 {
            return Err(Reason::NatExhausted);
        }
        scratch.reply_key.dst = *source;
        scratch.reply_key.dst_port = Be16::from_host(port);
        scratch.forward.peer = *source;
        scratch.forward.peer_port = Be16::from_host(port);
        if table::claim_fresh(&scratch.reply_key, packet.v4, &scratch.reply).is_ok() {
            if table::established(&scratch.reply_key, packet.v4).is_none() {
                return Ok(());
            }
            table::remove_fresh(&scratch.reply_key, packet.v4);
        }
        h = h.wrapping_mul(0x9e37_79b1).wrapping_add(0x7f4a_7c15);
    }
    reclaim(packet)
}

/// Takes the port that was tried last from a flow that has been waiting for its backend for a second or more: half-open
/// flows are the first to go, else a flood of them would hold all ports until they age.
///
/// Two CPUs may take the same port at once; the later one has it, and the other flow's answers are lost.
#[inline(never)]
fn reclaim(packet: &Packet) -> Result<(), Reason> {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return Err(Reason::NatExhausted) };
    // SAFETY: this CPU's own scratch, used by nobody else until the program ends.
    let scratch = unsafe { &mut *scratch };
    let Some(held) = table::fresh(&scratch.reply_key, packet.v4) else { return Err(Reason::NatExhausted) };
    // SAFETY: a valid pointer to a map value, only read here.
    let held = unsafe { &*held };
    if held.state != state::FRESH || age(scratch.reply.created, held.last_seen) < RECLAIM_AGE {
        return Err(Reason::NatExhausted);
    }
    let Some(service) = SERVICE.get(u32::from(held.service)) else { return Err(Reason::NatExhausted) };
    scratch.forward_key = FlowKey6 {
        src: held.peer,
        dst: service.vip,
        src_port: held.peer_port,
        dst_port: held.vip_port,
        protocol: scratch.reply_key.protocol,
    };
    table::remove_fresh(&scratch.forward_key, packet.v4);
    if table::put_fresh(&scratch.reply_key, packet.v4, &scratch.reply).is_err() {
        return Err(Reason::NatExhausted);
    }
    // As in `claim`: its holder may have been on the way to the established.
    if table::established(&scratch.reply_key, packet.v4).is_some() {
        table::remove_fresh(&scratch.reply_key, packet.v4);
        return Err(Reason::NatExhausted);
    }
    Ok(())
}

/// Sees to it that a flow's other half exists and, for the reply half, that it knows the client's present next hop. Called
/// on the first packet of a window, so a lost half is back within a second of traffic from the other side.
#[inline(never)]
pub fn heal(ctx: &XdpContext, packet: &Packet, flow: &Flow, service: &Service, fresh: bool) {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's own scratch, used by nobody else until the program ends.
    let scratch = unsafe { &mut *scratch };
    if !other_key(&packet.tuple, flow, service, &mut scratch.reply_key) {
        return;
    }
    let from_client = flow.side == side::FORWARD;
    if let Some(other) = super::find(&scratch.reply_key, packet.v4) {
        // SAFETY: a valid pointer to a map value; at worst another CPU learns the same at the same time.
        let other = unsafe { &mut *other.flow };
        if from_client && belongs(&packet.tuple, flow, other) {
            learn(ctx, other);
        }
        return;
    }
    mirror(ctx, packet, flow, &mut scratch.reply);
    let _full = if fresh {
        table::claim_fresh(&scratch.reply_key, packet.v4, &scratch.reply)
    } else {
        table::put_established(&scratch.reply_key, packet.v4, &scratch.reply)
    };
}

/// What the other half of `flow`, whose packet this is, has to say.
#[inline(always)]
pub fn mirror(ctx: &XdpContext, packet: &Packet, flow: &Flow, out: &mut Flow) {
    super::copy(flow, out);
    out.packets = 0;
    out.bytes = 0;
    if flow.side == side::FORWARD {
        out.side = side::REPLY;
        out.peer = packet.tuple.src;
        out.peer_port = packet.tuple.src_port;
        out.seen &= !seen::COUNTED;
        learn(ctx, out);
    } else {
        out.side = side::FORWARD;
        out.peer = packet.tuple.dst;
        out.peer_port = packet.tuple.dst_port;
    }
}

/// The state a flow is entered in: TCP begins with its SYN; anything else that is let in was under way before.
#[inline(always)]
pub const fn first_state(protocol: u8, opens: bool) -> u8 {
    if protocol == proto::TCP && !opens { state::ESTABLISHED } else { state::FRESH }
}
