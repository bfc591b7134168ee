//! Flow time: ticks of 2²⁰ nanoseconds (about 1.05 ms) since boot, in 32 bits.
//!
//! A tick count wraps after 52 days; ages are taken with wrapping subtraction and are right up to 26 days.

/// Nanoseconds of one tick, as a shift.
pub const TICK_SHIFT: u32 = 20;

/// Ticks of a monotonic clock reading in nanoseconds (`bpf_ktime_get_coarse_ns`, `CLOCK_MONOTONIC_COARSE`).
#[inline(always)]
#[must_use]
pub const fn ticks(nanos: u64) -> u32 {
    (nanos >> TICK_SHIFT) as u32
}

/// Ticks of a duration in milliseconds, rounded up, never zero.
#[must_use]
pub const fn ticks_of_millis(ms: u64) -> u32 {
    let t = (ms * 1_000_000).div_ceil(1 << TICK_SHIFT);
    if t == 0 {
        1
    } else if t > (u32::MAX / 2) as u64 {
        u32::MAX / 2
    } else {
        t as u32
    }
}

/// How many ticks lie between `then` and `now`; zero if another CPU's clock was a little ahead.
#[inline(always)]
#[must_use]
pub const fn age(now: u32, then: u32) -> u32 {
    let d = now.wrapping_sub(then);
    if d > u32::MAX / 2 { 0 } else { d }
}

/// Milliseconds of a number of ticks.
#[must_use]
pub const fn millis_of_ticks(ticks: u32) -> u64 {
    ((ticks as u64) << TICK_SHIFT) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_survives_the_wrap() {
        assert_eq!(age(5, u32::MAX - 4), 10);
        assert_eq!(age(100, 101), 0);
        assert_eq!(ticks_of_millis(0), 1);
        assert!(millis_of_ticks(ticks_of_millis(30_000)).abs_diff(30_000) <= 2);
    }
}
