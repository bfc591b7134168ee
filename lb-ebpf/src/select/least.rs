//! Weighted least connections: of the pool's members the one with the fewest active flows per weight.
//!
//! The search begins with the member whose turn it is in the smooth weighted sequence and leaves it only for one that is
//! strictly less loaded. So an idle pool is shared out by weight, and ties do not all fall on the first member.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use lb_common::pool::{LEAST_SCAN, TABLE_HEADER};

use crate::maps::{BACKENDS, LOADS, POOLS, REAPED};

struct Search {
    pool: u32,
    /// Word of the table where the members begin.
    first: u32,
    best: u32,
    weight: u32,
    active: u64,
}

#[inline(always)]
pub fn pick(pool: u32, slots: u32, candidate: u32) -> u32 {
    let at = TABLE_HEADER + slots;
    let Some(members) = POOLS.get_value(pool, &at).copied() else { return candidate };
    let Some((active, weight)) = load(candidate) else { return candidate };
    let mut search = Search { pool, first: at + 1, best: candidate, weight, active };
    let rounds = if members < LEAST_SCAN { members } else { LEAST_SCAN };
    // SAFETY: `visit` has the signature that the helper calls, and `search` outlives the call (kernel 5.17).
    unsafe { bpf_loop(rounds, visit as *mut c_void, (&raw mut search).cast(), 0) };
    search.best
}

/// Looks at one member; 0 goes on.
#[inline(never)]
extern "C" fn visit(index: u64, search: *mut c_void) -> i64 {
    // SAFETY: `bpf_loop` hands back the pointer that `pick` gave it.
    let search = unsafe { &mut *search.cast::<Search>() };
    let Some(member) = POOLS.get_value(search.pool, &(search.first + index as u32)).copied() else { return 1 };
    let Some((active, weight)) = load(member) else { return 0 };
    if active * u64::from(search.weight) < search.active * u64::from(weight) {
        search.best = member;
        search.weight = weight;
        search.active = active;
    }
    0
}

/// Active flows and weight of a backend.
#[inline(always)]
fn load(backend: u32) -> Option<(u64, u32)> {
    let weight = u32::from(BACKENDS.get(backend)?.weight);
    let load = LOADS.get(backend)?;
    let gone = load.closed + REAPED.get(backend)?;
    // Counters of several CPUs are read one after the other: the difference can be a little off, not below zero.
    Some((if load.opened > gone { load.opened - gone } else { 0 }, weight))
}
