//! How many retries a route may make: a share of its requests of the last ten seconds.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::clock;

/// One for each of the last ten seconds, and the one under way.
const SLOTS: usize = 11;
const SECOND: u64 = 1_000_000_000;
/// Retries in ten seconds that are always allowed.
const ALWAYS: u64 = 10;

/// Of one route, shared by all workers. Ten retries in ten seconds are always allowed.
#[derive(Debug)]
pub struct RetryBudget {
    percent: u8,
    requests: Window,
    retries: Window,
}

impl RetryBudget {
    #[must_use]
    pub fn new(percent: u8) -> Self {
        Self { percent, requests: Window::default(), retries: Window::default() }
    }

    #[must_use]
    pub fn percent(&self) -> u8 {
        self.percent
    }

    pub(crate) fn request(&self, now: Instant) {
        self.requests.add(second(now));
    }

    /// Takes a retry out of the budget, if one is in it. Two workers at once may both get the last one.
    pub(crate) fn try_retry(&self, now: Instant) -> bool {
        let second = second(now);
        let allowed = (self.requests.sum(second) * u64::from(self.percent) / 100).max(ALWAYS);
        let granted = self.retries.sum(second) < allowed;
        if granted {
            self.retries.add(second);
        }
        granted
    }
}

fn second(now: Instant) -> u32 {
    (clock::ticks(now) / SECOND) as u32
}

/// Counts by second: the second in the upper half, the count in the lower. Whoever comes first in a second starts it
/// anew; a count of a worker that is late by a whole window is lost.
#[derive(Debug, Default)]
struct Window([AtomicU64; SLOTS]);

impl Window {
    fn add(&self, second: u32) {
        let Some(slot) = self.0.get(second as usize % SLOTS) else { return };
        let mine = u64::from(second) << 32;
        let mut seen = slot.load(Relaxed);
        loop {
            let next = if seen >> 32 == u64::from(second) { seen + 1 } else { mine + 1 };
            match slot.compare_exchange_weak(seen, next, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    fn sum(&self, second: u32) -> u64 {
        let recent = |at: u64| at <= u64::from(second) && at + SLOTS as u64 > u64::from(second);
        self.0.iter().map(|s| s.load(Relaxed)).filter(|s| recent(s >> 32)).map(|s| s & 0xffff_ffff).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn granted(budget: &RetryBudget, now: Instant, tries: u32) -> u32 {
        (0..tries).filter(|_| budget.try_retry(now)).count() as u32
    }

    #[test]
    fn a_share_of_the_last_ten_seconds_and_ten_always() {
        let start = clock::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let budget = RetryBudget::new(20);
        assert_eq!(granted(&budget, start, 50), 10);
        for _ in 0..200 {
            budget.request(at(1));
        }
        assert_eq!(granted(&budget, at(1), 100), 30, "20 % of 200, less the ten already made");
        assert_eq!(granted(&budget, at(5), 100), 0);
        assert_eq!(granted(&budget, at(30), 100), 10, "the window has gone by");
    }

    #[test]
    fn none_in_the_budget_still_leaves_ten() {
        let now = clock::now();
        let budget = RetryBudget::new(0);
        (0..10_000).for_each(|_| budget.request(now));
        assert_eq!(granted(&budget, now, 50), 10);
    }
}
