//! Every verdict has a reason, and every reason a counter.

use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::info;
use lb_common::reason::REASON_SLOTS;
use lb_common::service::Traffic;

use crate::maps::{BE_TRAFFIC, SVC_TRAFFIC, VERDICTS};

/// Counts one packet of a service (0: of none) under its reason; returns how many there have been on this CPU.
#[inline(always)]
pub fn verdict(service: u32, reason: u32) -> u64 {
    let slot = service * REASON_SLOTS + reason;
    let Some(n) = VERDICTS.get_ptr_mut(slot) else { return 0 };
    // SAFETY: a valid pointer to this CPU's own counter, which nobody else writes.
    unsafe {
        *n += 1;
        *n
    }
}

/// Logs a drop: the first of its service and reason on this CPU, the second, the fourth, and so on, so that a flood of
/// drops costs a handful of lines and a single one is still seen.
#[inline(never)]
pub fn sample(ctx: &XdpContext, service: u32, reason: u32, count: u64) {
    if count & count.wrapping_sub(1) == 0 {
        info!(ctx, "dropped: service {} reason {} count {}", service, reason, count);
    }
}

/// Counts a packet on its way from a client to a backend.
#[inline(always)]
pub fn to_backend(service: u32, backend: u32, bytes: u32, new_flow: bool) {
    if let Some(counter) = SVC_TRAFFIC.get_ptr_mut(service) {
        // SAFETY: a valid pointer to this CPU's own counters, which nobody else writes.
        add(unsafe { &mut *counter }, bytes, new_flow);
    }
    if let Some(counter) = BE_TRAFFIC.get_ptr_mut(backend) {
        // SAFETY: a valid pointer to this CPU's own counters, which nobody else writes.
        add(unsafe { &mut *counter }, bytes, new_flow);
    }
}

#[inline(always)]
fn add(traffic: &mut Traffic, bytes: u32, new_flow: bool) {
    traffic.packets += 1;
    traffic.bytes += u64::from(bytes);
    traffic.flows += u64::from(new_flow);
}
