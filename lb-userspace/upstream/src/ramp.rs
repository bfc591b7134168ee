//! Slow start: how much of its weight a backend has that has just come back.

use std::time::{Duration, Instant};

/// Weights of a pool in a ramp are in these parts of one, so that a tenth of 1 is a weight too (1000 · 60 fits 16 bits).
pub(crate) const SCALE: u16 = 60;
/// Steps of a ramp: the tables are built anew at each.
const STEPS: u32 = 20;

/// The weight at `now` in [`SCALE`]ths: a tenth at first, growing evenly to all of it; and when the next step is due.
pub(crate) fn weight(full: u16, since: Instant, length: Duration, now: Instant) -> (u16, Option<Instant>) {
    let scaled = full.min(1_000) * SCALE;
    let age = now.saturating_duration_since(since);
    if length.is_zero() || age >= length {
        return (scaled, None);
    }
    let step = length / STEPS;
    let done = if step.is_zero() { 0 } else { u32::try_from(age.as_nanos() / step.as_nanos()).unwrap_or(STEPS) };
    // 10 % + 90 % · done / STEPS
    let part = u64::from(scaled) * u64::from(STEPS + 9 * done.min(STEPS)) / u64::from(10 * STEPS);
    let next = since + step * (done + 1);
    (u16::try_from(part).unwrap_or(scaled).max(u16::from(full > 0)), Some(next.max(now)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn from_a_tenth_to_all_and_never_down() {
        let (start, length) = (clock::now(), Duration::from_secs(20));
        let at = |s: u64| weight(10, start, length, start + Duration::from_secs(s)).0;
        assert_eq!(at(0), 60);
        assert_eq!(at(10), 330);
        assert_eq!(at(20), 600);
        assert!((0..30).map(at).is_sorted());
        assert_eq!(weight(1000, start, length, start + length), (60_000, None));
        assert_eq!(weight(0, start, length, start).0, 0);
        assert_eq!(weight(5, start, Duration::ZERO, start), (300, None));
    }
}
