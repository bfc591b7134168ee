//! The kernel's clocks as the packet path reads them.

use lb_common::time;
use nix::time::{ClockId, clock_gettime};

/// Flow time, from the clock behind `bpf_ktime_get_coarse_ns`.
#[must_use]
pub fn ticks() -> u32 {
    time::ticks(nanos(ClockId::CLOCK_MONOTONIC_COARSE))
}

/// Nanoseconds since boot, exact.
#[must_use]
pub fn precise() -> u64 {
    nanos(ClockId::CLOCK_MONOTONIC)
}

fn nanos(clock: ClockId) -> u64 {
    // Linux has had both clocks since 2.6.32; the call cannot fail with these arguments.
    clock_gettime(clock).map_or(0, |t| t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64)
}
