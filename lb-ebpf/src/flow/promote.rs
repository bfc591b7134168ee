//! From fresh to established: the flow moves to the table that no flood can push it out of.

use aya_ebpf::programs::XdpContext;
use lb_common::flow::{Flow, FlowKey6, seen, side, state};
use lb_common::net::proto;
use lb_common::reason::Reason;
use lb_common::service::{Service, forward};

use super::{new_window, pair, table, track};
use crate::count;
use crate::maps::{SCRATCH, Scratch};
use crate::packet::Packet;

/// Has a fresh flow earned its place? TCP: the handshake is complete (with DSR, as far as the client shows) and the
/// connection not over yet. UDP: the client has spoken twice. After a failure it is asked again once a window.
#[inline(always)]
pub fn is_due(packet: &Packet, flow: &Flow, before: u8, last_seen: u32, now: u32) -> bool {
    if packet.protocol() == proto::TCP && (flow.state < state::ESTABLISHED || !state::is_active(flow.state)) {
        return false;
    }
    before < state::ESTABLISHED || new_window(now, last_seen)
}

/// Moves both halves. Established entries are made before the fresh ones go, so a packet on another CPU finds one or the
/// other. When there is no room the flow stays where it is, and that is counted.
#[inline(never)]
pub fn promote(ctx: &XdpContext, packet: &Packet, flow: &mut Flow, service: &Service) {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's own scratch, used by nobody else until the program ends.
    let scratch = unsafe { &mut *scratch };
    if flow.state < state::ESTABLISHED {
        flow.state = state::ESTABLISHED;
    }
    super::copy(flow, &mut scratch.forward);
    let active = state::is_active(flow.state);
    if active {
        scratch.forward.seen |= seen::COUNTED;
    }
    let number = u32::from(flow.service);
    let nat = service.forward == forward::NAT;
    if nat {
        match promote_reply(ctx, scratch, packet, flow, service) {
            Reply::Moved => {}
            Reply::Full => {
                count::verdict(number, Reason::FlowTableFull as u32);
                return;
            }
            Reply::Taken => {
                // Its answers go to another flow; the client's next attempt opens a new one.
                flow.state = state::RESET;
                return;
            }
        }
    }
    if table::put_established(&packet.tuple, packet.v4, &scratch.forward).is_err() {
        if nat {
            table::remove_established(&scratch.reply_key, packet.v4);
        }
        count::verdict(number, Reason::FlowTableFull as u32);
        return;
    }
    if active {
        track::opened(scratch.forward.backend);
    }
    table::remove_fresh(&packet.tuple, packet.v4);
    if nat {
        table::remove_fresh(&scratch.reply_key, packet.v4);
    }
}

/// What became of the reply half.
enum Reply {
    Moved,
    Full,
    /// It had been evicted, and its port is another flow's now.
    Taken,
}

#[inline(always)]
fn promote_reply(ctx: &XdpContext, scratch: &mut Scratch, packet: &Packet, flow: &Flow, service: &Service) -> Reply {
    let key: &mut FlowKey6 = &mut scratch.reply_key;
    if !pair::other_key(&packet.tuple, flow, service, key) {
        return Reply::Full;
    }
    if let Some(other) = super::find(key, packet.v4) {
        // SAFETY: a valid pointer to a map value, copied at once.
        let other = unsafe { &*other.flow };
        if !pair::belongs(&packet.tuple, flow, other) {
            return Reply::Taken;
        }
        super::copy(other, &mut scratch.reply);
    } else {
        // Evicted: made anew from this half.
        pair::mirror(ctx, packet, flow, &mut scratch.reply);
    }
    scratch.reply.state = flow.state;
    scratch.reply.seen = flow.seen;
    scratch.reply.side = side::REPLY;
    if table::put_established(key, packet.v4, &scratch.reply).is_ok() { Reply::Moved } else { Reply::Full }
}
