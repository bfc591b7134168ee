//! The engine's clock: read here and nowhere else, in units that fit atomics.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Milliseconds and nanoseconds since the engine started.
#[derive(Debug)]
pub(crate) struct Clock {
    base: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the engine's edge: its tasks take the time from here")]
    pub(crate) fn start() -> Self {
        Self { base: Instant::now() }
    }

    #[expect(clippy::disallowed_methods, reason = "the engine's edge: its tasks take the time from here")]
    pub(crate) fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(self.base)
    }

    /// Wraps after 49 days; ages are taken with wrapping subtraction.
    pub(crate) fn millis(&self) -> u32 {
        self.elapsed().as_millis() as u32
    }

    pub(crate) fn nanos(&self) -> u64 {
        self.elapsed().as_nanos() as u64
    }
}

/// A worker's idea of the time: what its housekeeping last read, so that traffic reads no clock at all.
#[derive(Debug, Default)]
pub(crate) struct Coarse(AtomicU32);

impl Coarse {
    pub(crate) fn set(&self, millis: u32) {
        self.0.store(millis, Relaxed);
    }
    pub(crate) fn millis(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

/// Milliseconds from `then` to `now`; zero if the clock was read by another worker a little later.
pub(crate) const fn age(now: u32, then: u32) -> u32 {
    let d = now.wrapping_sub(then);
    if d > u32::MAX / 2 { 0 } else { d }
}

/// A duration in milliseconds, as ages are.
pub(crate) fn millis(d: Duration) -> u32 {
    u32::try_from(d.as_millis()).unwrap_or(u32::MAX / 2).min(u32::MAX / 2)
}
