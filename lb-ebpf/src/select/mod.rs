//! Stage 5, which backend: client affinity first, then the pool's algorithm over its published table.

mod least;

use aya_ebpf::helpers::bpf_get_prandom_u32;
use lb_common::backend::flag as backend_flag;
use lb_common::flow::{Affinity, ClientKey};
use lb_common::hash;
use lb_common::pool::TABLE_HEADER;
use lb_common::service::{Service, algorithm, flag};
use lb_common::time;

use crate::atomic;
use crate::maps::{AFFINITY, BACKENDS, CURSORS, POOLS};
use crate::packet::Packet;

/// The number of the backend for a new flow; 0: the pool has none to offer.
#[inline(never)]
pub fn pick(packet: &Packet, number: u32, service: &Service, now: u32) -> u32 {
    if service.flags & flag::AFFINITY == 0 {
        return by_algorithm(packet, service);
    }
    let key = ClientKey { client: packet.tuple.src, service: number };
    if let Some(held) = AFFINITY.get_ptr_mut(key) {
        // SAFETY: a valid pointer to a map value; a race costs one stamp.
        let held = unsafe { &mut *held };
        if time::age(now, held.last_seen) <= service.affinity_timeout && is_eligible(held.backend) {
            held.last_seen = now;
            return held.backend;
        }
    }
    let backend = by_algorithm(packet, service);
    if backend != 0 {
        let _full = AFFINITY.insert(key, Affinity { backend, last_seen: now }, 0);
    }
    backend
}

/// Keeps a client's affinity alive while an old flow of it still talks.
#[inline(never)]
pub fn refresh(packet: &Packet, number: u32, backend: u32, now: u32) {
    let key = ClientKey { client: packet.tuple.src, service: number };
    if let Some(held) = AFFINITY.get_ptr_mut(key) {
        // SAFETY: a valid pointer to a map value; a race costs one stamp.
        let held = unsafe { &mut *held };
        if held.backend == backend {
            held.last_seen = now;
        }
    }
}

fn is_eligible(backend: u32) -> bool {
    BACKENDS.get(backend).is_some_and(|b| b.flags & backend_flag::ELIGIBLE != 0)
}

#[inline(always)]
fn by_algorithm(packet: &Packet, service: &Service) -> u32 {
    let Some(slots) = POOLS.get_value(service.pool, &0).copied() else { return 0 };
    if slots == 0 {
        return 0;
    }
    let t = &packet.tuple;
    let slot = match service.algorithm {
        algorithm::MAGLEV => {
            hash::slot(hash::of_flow(&t.src, t.src_port, &t.dst, t.dst_port, packet.protocol()), slots)
        }
        algorithm::SOURCE_HASH => hash::slot(hash::of_client(&t.src), slots),
        // SAFETY: the helper takes no argument and returns a number.
        algorithm::RANDOM => hash::slot(unsafe { bpf_get_prandom_u32() }, slots),
        _ => turn(service.pool, slots),
    };
    let Some(candidate) = POOLS.get_value(service.pool, &(TABLE_HEADER + slot)).copied() else { return 0 };
    if service.algorithm == algorithm::LEAST_CONNECTIONS {
        return least::pick(service.pool, slots, candidate);
    }
    candidate
}

/// The pool's next turn.
#[inline(always)]
fn turn(pool: u32, slots: u32) -> u32 {
    let Some(cursor) = CURSORS.get_ptr_mut(pool) else { return 0 };
    // SAFETY: a valid, aligned pointer to a shared counter, only ever added to atomically.
    let turns = unsafe { atomic::add(cursor, 1) };
    (turns % u64::from(slots)) as u32
}
