//! The kernel's clocks.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use lb_common::time;

/// Flow time; good to a scheduler tick (1–4 ms), and cheap: no hardware clock is read.
#[inline(always)]
pub fn ticks() -> u32 {
    // SAFETY: the helper takes no argument and only reads a clock (kernel 5.11).
    time::ticks(unsafe { bpf_ktime_get_coarse_ns() })
}

/// Nanoseconds since boot, exact.
#[inline(always)]
pub fn nanos() -> u64 {
    // SAFETY: the helper takes no argument and only reads a clock.
    unsafe { bpf_ktime_get_ns() }
}
