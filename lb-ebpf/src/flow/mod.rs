//! Stage 4, do we know it: the flow tables and what happens to a known flow.
//!
//! "Is this flow known" and "which backend" are separate stages: a service whose flows need no entry can skip this one.

pub mod pair;
pub mod promote;
pub mod table;
pub mod tcp;
pub mod track;

use lb_common::flow::{Flow, FlowKey6};
use lb_common::net::{Addr, Be16};

/// A flow's entry in one of the two tables.
pub struct Found {
    pub flow: *mut Flow,
    /// In the LRU table of fresh flows rather than among the established.
    pub fresh: bool,
}

/// What forwarding needs of a flow, by value: entries may move between tables while a packet is under way.
#[derive(Clone, Copy)]
pub struct Carried {
    pub backend: u32,
    pub peer: Addr,
    pub peer_port: Be16,
}

/// Looks the packet's flow up: among the established first, which is where all but a flow's first packets find theirs.
#[inline(always)]
pub fn find(tuple: &FlowKey6, v4: bool) -> Option<Found> {
    if let Some(flow) = table::established(tuple, v4) {
        return Some(Found { flow, fresh: false });
    }
    table::fresh(tuple, v4).map(|flow| Found { flow, fresh: true })
}

/// Copies an entry word by word. An assignment would become a call of a byte-wise loop, which is slow to run and slower to
/// verify.
#[inline(always)]
pub fn copy(from: &Flow, to: &mut Flow) {
    let (from, to) = ((&raw const *from).cast::<u64>(), (&raw mut *to).cast::<u64>());
    for i in 0..size_of::<Flow>() / 8 {
        // SAFETY: both are whole `Flow`s, eight words each, aligned to eight bytes.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) };
    }
}

/// Ticks of one window, as a shift: about a second. What is checked now and then is checked on the first packet of a
/// window.
const WINDOW_SHIFT: u32 = 10;

#[inline(always)]
pub fn new_window(now: u32, last_seen: u32) -> bool {
    (now >> WINDOW_SHIFT) != (last_seen >> WINDOW_SHIFT)
}
