//! What is known of one backend at one address, shared by all workers: counts, latency, outlier state, condition.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lb_model::BackendAddress;
use lb_model::http::Outlier;
use tokio::sync::Notify;

use crate::clock;
use crate::outlier::{Detector, Sample};
use crate::plan::MemberState;
use crate::queue::Waiting;

/// After so long an old latency is worth 1/e of what it was.
const DECAY: f64 = 10e9;
/// Statuses are counted one by one up to here; whatever is above counts as the last.
const STATUSES: usize = 600;

static NEXT_ID: AtomicU32 = AtomicU32::new(1);

#[derive(Debug)]
pub(crate) struct Backend {
    /// Never used twice: what workers file their connections under.
    pub(crate) id: u32,
    pub(crate) configured: BackendAddress,
    pub(crate) address: SocketAddr,
    pub(crate) pool: Arc<Waiting>,
    active: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) cut: AtomicU64,
    statuses: Box<[AtomicU64]>,
    /// Peak EWMA in nanoseconds, and when it was last brought up to date. Two workers at once may lose a sample.
    latency: AtomicU64,
    latency_at: AtomicU64,
    /// The last one.
    sample: AtomicU64,
    condition: AtomicU8,
    /// Wakes tunnels when the condition turns to expired.
    turned: Notify,
    detector: Mutex<Detector>,
}

impl Backend {
    pub(crate) fn new(configured: BackendAddress, address: SocketAddr, pool: Arc<Waiting>) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            configured,
            address,
            pool,
            active: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            statuses: (0..STATUSES).map(|_| AtomicU64::new(0)).collect(),
            latency: AtomicU64::new(0),
            latency_at: AtomicU64::new(0),
            sample: AtomicU64::new(0),
            condition: AtomicU8::new(code(MemberState::Up)),
            turned: Notify::new(),
            detector: Mutex::new(Detector::default()),
        }
    }

    pub(crate) fn active(&self) -> u64 {
        self.active.load(Relaxed)
    }

    /// Takes a place; `None`: all `most` are taken (0: there is always one).
    pub(crate) fn enter(self: &Arc<Self>, most: u32) -> Option<Ticket> {
        if most == 0 {
            self.active.fetch_add(1, Relaxed);
        } else {
            let more = |n: u64| (n < u64::from(most)).then_some(n + 1);
            // In one order with the count of those who wait: either they see the place, or who leaves sees them.
            self.active.fetch_update(SeqCst, SeqCst, more).ok()?;
        }
        Some(Ticket { backend: Arc::clone(self) })
    }

    pub(crate) fn count_status(&self, status: u16) {
        if let Some(count) = self.statuses.get(usize::from(status).min(STATUSES - 1)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Those that occurred.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        (0u16..).zip(self.statuses.iter().map(|c| c.load(Relaxed))).filter(|(_, n)| *n > 0)
    }

    /// The latency decayed to now, in nanoseconds.
    pub(crate) fn latency(&self, now: u64) -> u64 {
        let value = self.latency.load(Relaxed);
        if value == 0 {
            return 0;
        }
        (value as f64 * weight_of(now.saturating_sub(self.latency_at.load(Relaxed)))) as u64
    }

    /// A peak is believed at once when the sample before it was one too, and forgotten slowly (Finagle's peak EWMA; the
    /// second opinion is ours, for on a busy machine lone peaks are the machine's).
    pub(crate) fn observe(&self, latency: Duration, now: Instant) {
        let (sample, now) = (clock::nanos(latency).max(1), clock::ticks(now));
        let age = now.saturating_sub(self.latency_at.load(Relaxed));
        let old = self.latency.load(Relaxed);
        let before = self.sample.swap(sample, Relaxed);
        let peak = sample.min(before);
        let mixed = if old == 0 || peak > old {
            peak.max(1)
        } else {
            let w = weight_of(age);
            (old as f64 * w + sample as f64 * (1.0 - w)) as u64
        };
        self.latency.store(mixed.max(1), Relaxed);
        self.latency_at.store(now, Relaxed);
    }

    pub(crate) fn detector(&self) -> MutexGuard<'_, Detector> {
        self.detector.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an exchange with it came to.
    pub(crate) fn judge(&self, rule: Option<&Outlier>, error: bool, latency: Duration, now: Instant) {
        let Some(rule) = rule else { return };
        if self.detector().record(Sample { error, latency }, rule, now) {
            self.pool.mark_stale();
        }
    }

    pub(crate) fn condition(&self) -> MemberState {
        match self.condition.load(Relaxed) {
            0 => MemberState::Up,
            1 => MemberState::Down,
            2 => MemberState::Draining,
            _ => MemberState::Expired,
        }
    }

    pub(crate) fn set_condition(&self, state: MemberState) {
        let old = self.condition.swap(code(state), Relaxed);
        if old != code(state) {
            self.turned.notify_waiters();
        }
    }

    /// Returns when the drain's deadline has passed.
    pub(crate) async fn expired(&self) {
        loop {
            let turned = self.turned.notified();
            tokio::pin!(turned);
            turned.as_mut().enable();
            if self.condition() == MemberState::Expired {
                return;
            }
            turned.await;
        }
    }
}

fn weight_of(age: u64) -> f64 {
    (-(age as f64) / DECAY).exp()
}

const fn code(state: MemberState) -> u8 {
    match state {
        MemberState::Up => 0,
        MemberState::Down => 1,
        MemberState::Draining => 2,
        MemberState::Expired => 3,
    }
}

/// A place at a backend, given back when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) backend: Arc<Backend>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.backend.condition() == MemberState::Expired {
            self.backend.cut.fetch_add(1, Relaxed);
        }
        self.backend.active.fetch_sub(1, SeqCst);
        self.backend.pool.place_is_free();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend() -> Arc<Backend> {
        let address: SocketAddr = ([127, 0, 0, 1], 80).into();
        Arc::new(Backend::new(address.into(), address, Arc::new(Waiting::default())))
    }

    #[test]
    fn peaks_that_last_count_at_once_and_decay() {
        let (b, start) = (backend(), clock::now());
        b.observe(Duration::from_millis(1), start);
        b.observe(Duration::from_millis(1), start);
        b.observe(Duration::from_millis(700), start);
        assert!(b.latency(clock::ticks(start)) < 10_000_000, "alone");
        b.observe(Duration::from_millis(500), start);
        assert_eq!(b.latency(clock::ticks(start)), 500_000_000);
        let later = b.latency(clock::ticks(start + Duration::from_secs(10)));
        assert!((180_000_000..190_000_000).contains(&later), "{later}");
        b.observe(Duration::from_millis(1), start + Duration::from_secs(60));
        assert!(b.latency(clock::ticks(start + Duration::from_secs(60))) < 5_000_000);
    }

    #[test]
    fn places_are_limited_and_come_back() {
        let b = backend();
        let one = b.enter(2).expect("a place");
        let _two = b.enter(2).expect("a place");
        assert!(b.enter(2).is_none());
        drop(one);
        assert!(b.enter(2).is_some());
        assert!(b.enter(0).is_some());
        assert_eq!(b.active(), 1);
    }
}
