//! What a packet does to its flow's entry: stamp, counts, and, rarely, state.
//!
//! Entries are written without a lock; who races and what follows is said at [`Flow`].

use lb_common::flow::{Flow, FlowKey6, seen, side, state};
use lb_common::net::proto;
use lb_common::service::{Service, forward};

use super::{pair, table, tcp};
use crate::atomic;
use crate::maps::LOADS;
use crate::packet::Packet;

/// Stamps and counts one packet.
#[inline(always)]
pub fn touch(flow: &mut Flow, packet: &Packet, now: u32) {
    flow.last_seen = now;
    flow.packets += 1;
    flow.bytes += u64::from(packet.len);
}

/// Follows TCP's state on a packet with these `flags`: SYN, FIN or RST, or the one that completes the handshake. Both halves are told.
#[inline(never)]
pub fn follow(packet: &Packet, flow: &mut Flow, service: &Service, flags: u8) {
    if packet.protocol() != proto::TCP {
        return;
    }
    let one_sided = service.forward != forward::NAT;
    let from_client = flow.side == side::FORWARD;
    let (next, seen_now) = tcp::next(flow.state, flow.seen, from_client, one_sided, flags);
    if next == flow.state && seen_now == flow.seen {
        return;
    }
    flow.state = next;
    flow.seen = seen_now;
    if from_client {
        settle(flow);
    }
    if one_sided {
        return;
    }
    let mut other_key = FlowKey6::default();
    if !pair::other_key(&packet.tuple, flow, service, &mut other_key) {
        return;
    }
    if let Some(other) = super::find(&other_key, packet.v4) {
        // SAFETY: a valid pointer to a map value; see the race at `Flow`.
        let other = unsafe { &mut *other.flow };
        if !pair::belongs(&packet.tuple, flow, other) {
            return;
        }
        other.state = next;
        other.seen = (seen_now & !seen::COUNTED) | (other.seen & seen::COUNTED);
        if !from_client {
            settle(other);
        }
    }
}

/// Counts a forward half as closed on its backend, once, when it has stopped being active.
///
/// Client and backend may close on two CPUs at once and both count; user space recounts and corrects.
#[inline(always)]
fn settle(forward_half: &mut Flow) {
    if forward_half.seen & seen::COUNTED != 0 && !state::is_active(forward_half.state) {
        forward_half.seen &= !seen::COUNTED;
        closed(forward_half.backend);
    }
}

#[inline(always)]
pub fn opened(backend: u32) {
    if let Some(load) = LOADS.get_ptr_mut(backend) {
        // SAFETY: a valid, aligned pointer to a shared counter, only ever added to atomically.
        unsafe { atomic::add(&raw mut (*load).opened, 1) };
    }
}

#[inline(always)]
pub fn closed(backend: u32) {
    if let Some(load) = LOADS.get_ptr_mut(backend) {
        // SAFETY: a valid, aligned pointer to a shared counter, only ever added to atomically.
        unsafe { atomic::add(&raw mut (*load).closed, 1) };
    }
}

/// Takes a flow out of the tables, both halves, because a new one takes its place.
#[inline(never)]
pub fn forget(packet: &Packet, flow: &mut Flow, service: &Service) {
    if flow.seen & seen::COUNTED != 0 {
        flow.seen &= !seen::COUNTED;
        closed(flow.backend);
    }
    if service.forward == forward::NAT {
        let mut other_key = FlowKey6::default();
        if pair::other_key(&packet.tuple, flow, service, &mut other_key)
            && let Some(other) = super::find(&other_key, packet.v4)
            // SAFETY: a valid pointer to a map value, only read here.
            && pair::belongs(&packet.tuple, flow, unsafe { &*other.flow })
        {
            table::remove_established(&other_key, packet.v4);
            table::remove_fresh(&other_key, packet.v4);
        }
    }
    table::remove_established(&packet.tuple, packet.v4);
    table::remove_fresh(&packet.tuple, packet.v4);
}
