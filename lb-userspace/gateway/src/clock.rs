//! The one place of this room that reads clocks.

use std::time::{Instant, SystemTime};

/// Of the worker's runtime, so that tests may pause it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[expect(clippy::disallowed_methods, reason = "the edge at which layer 7 learns the date")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}
