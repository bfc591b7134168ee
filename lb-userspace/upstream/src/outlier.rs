//! Does a backend's way of answering speak against it? A state machine without a clock of its own.

use std::time::{Duration, Instant};

use lb_model::http::Outlier;

const BUCKETS: u32 = 10;
/// An ejection is at most so many times the first one.
const LONGEST: u32 = 10;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    requests: u64,
    errors: u64,
    latency: Duration,
}

/// What a request came to, as far as its backend is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) error: bool,
    pub(crate) latency: Duration,
}

/// An ejection in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ejection {
    pub(crate) until: Instant,
    pub(crate) why: String,
}

/// What is known of one backend.
#[derive(Clone, Debug, Default)]
pub(crate) struct Detector {
    consecutive: u32,
    buckets: [Bucket; BUCKETS as usize],
    /// The number of the newest bucket, and when it began.
    newest: Option<(u64, Instant)>,
    /// Why it should be ejected; taken by whoever decides for the pool.
    wish: Option<String>,
    ejection: Option<Ejection>,
    /// Ejections in a row.
    times: u32,
    /// Until when a further ejection counts as one in a row.
    row_until: Option<Instant>,
}

impl Detector {
    /// Takes a sample. `true`: there is now a reason to eject.
    pub(crate) fn record(&mut self, sample: Sample, rule: &Outlier, now: Instant) -> bool {
        if self.ejection.as_ref().is_some_and(|e| now < e.until) {
            // Requests that were in flight when it was ejected.
            return false;
        }
        self.advance(rule, now);
        if let Some((n, _)) = self.newest
            && let Some(bucket) = self.buckets.get_mut((n % u64::from(BUCKETS)) as usize)
        {
            bucket.requests += 1;
            bucket.errors += u64::from(sample.error);
            bucket.latency += sample.latency;
        }
        self.consecutive = if sample.error { self.consecutive.saturating_add(1) } else { 0 };
        let had = self.wish.is_some();
        self.wish = self.reason(rule);
        self.wish.is_some() && !had
    }

    fn reason(&self, rule: &Outlier) -> Option<String> {
        if rule.consecutive_errors > 0 && self.consecutive >= rule.consecutive_errors {
            return Some(format!("{} errors in a row", self.consecutive));
        }
        let requests: u64 = self.buckets.iter().map(|b| b.requests).sum();
        if requests == 0 || requests < u64::from(rule.min_requests) {
            return None;
        }
        let errors: u64 = self.buckets.iter().map(|b| b.errors).sum();
        if rule.error_rate > 0 && errors * 100 >= requests * u64::from(rule.error_rate) {
            return Some(format!("{errors} errors in {requests} requests"));
        }
        let most = rule.latency?;
        let total: Duration = self.buckets.iter().map(|b| b.latency).sum();
        let mean = total / u32::try_from(requests).unwrap_or(u32::MAX);
        (mean > most).then(|| format!("{} ms on average", mean.as_millis()))
    }

    /// Moves the window on to now.
    fn advance(&mut self, rule: &Outlier, now: Instant) {
        let width = (rule.window / BUCKETS).max(Duration::from_millis(1));
        let Some((n, began)) = self.newest else {
            self.newest = Some((0, now));
            return;
        };
        let steps = now.saturating_duration_since(began).as_nanos() / width.as_nanos();
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        for k in 1..=u64::from(steps.min(BUCKETS)) {
            if let Some(bucket) = self.buckets.get_mut(((n + k) % u64::from(BUCKETS)) as usize) {
                *bucket = Bucket::default();
            }
        }
        if steps >= BUCKETS {
            self.buckets = Default::default();
            self.newest = Some((n, now));
        } else {
            self.newest = Some((n + u64::from(steps), began + width * steps));
        }
    }

    /// Decides over the wish: `allowed`, and it is ejected from now on; else it is forgotten. Says until when.
    pub(crate) fn decide(&mut self, allowed: bool, rule: &Outlier, now: Instant) -> Option<Instant> {
        let why = self.wish.take()?;
        self.consecutive = 0;
        self.buckets = Default::default();
        if !allowed {
            return None;
        }
        let in_a_row = self.row_until.is_some_and(|until| now < until);
        self.times = if in_a_row { self.times.saturating_add(1) } else { 1 };
        let factor = 1u32.checked_shl(self.times - 1).unwrap_or(LONGEST).clamp(1, LONGEST);
        let length = rule.eject * factor;
        let until = now + length;
        // Good for as long again after it came back, and the next time is a first time.
        self.row_until = Some(until + length);
        self.ejection = Some(Ejection { until, why });
        Some(until)
    }

    pub(crate) fn wishes(&self) -> bool {
        self.wish.is_some()
    }

    pub(crate) fn ejection(&self, now: Instant) -> Option<&Ejection> {
        self.ejection.as_ref().filter(|e| now < e.until)
    }

    /// The rule is gone: so is what it said.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// How many of a pool's backends may be ejected at once.
pub(crate) fn most_ejected(backends: usize, percent: u8) -> usize {
    backends * usize::from(percent.min(100)) / 100
}

#[cfg(test)]
#[path = "outlier_tests.rs"]
mod tests;
