//! Where this room reads the clock: a moment as an `Instant`, and as nanoseconds that fit an atomic.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

static START: OnceLock<Instant> = OnceLock::new();

/// Tokio's clock, so that tests may stop it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Nanoseconds since this room first asked, plus an hour, so that moments a little earlier have a number too. Never 0.
pub(crate) fn ticks(at: Instant) -> u64 {
    const BEFORE: Duration = Duration::from_secs(3600);
    let start = *START.get_or_init(|| at.checked_sub(BEFORE).unwrap_or(at));
    nanos(at.saturating_duration_since(start)).saturating_add(1)
}

pub(crate) fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}
