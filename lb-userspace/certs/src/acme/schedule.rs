//! When a certificate is ordered: at two thirds of its life, and again after a failure, ever less often.

use std::time::{Duration, SystemTime};

/// After the first failure; three times as long after each further one. Authorities count failures per hour.
const FIRST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// Between two orders that succeed, at most: a certificate that is lost at once is not ordered in a loop.
const GAP: Duration = FIRST;

#[derive(Debug, Default)]
pub(crate) struct Schedule {
    failures: u32,
    /// Not before.
    again: Option<SystemTime>,
}

impl Schedule {
    /// How long to wait with an order; zero: now. `validity`: of the certificate that is there.
    pub(crate) fn wait(&self, validity: Option<(SystemTime, SystemTime)>, now: SystemTime) -> Duration {
        let due = validity.and_then(|(from, to)| from.checked_add(to.duration_since(from).ok()? * 2 / 3));
        // A clock that was set back does not make us wait longer than we would have.
        let again = self.again.map(|a| a.min(now + LONGEST));
        due.max(again).and_then(|at| at.duration_since(now).ok()).unwrap_or_default()
    }

    /// A certificate that comes with two thirds of its life behind it counts as a failure, or it were ordered in a loop.
    pub(crate) fn issued(&mut self, validity: (SystemTime, SystemTime), now: SystemTime) {
        self.again = None;
        if self.wait(Some(validity), now).is_zero() {
            self.failed(now);
        } else {
            self.failures = 0;
            let left = validity.1.duration_since(now).unwrap_or_default();
            self.again = Some(now + (left / 3).min(GAP));
        }
    }

    /// How long until the next try.
    pub(crate) fn failed(&mut self, now: SystemTime) -> Duration {
        let wait = (FIRST * 3u32.saturating_pow(self.failures.min(10))).min(LONGEST);
        self.failures += 1;
        self.again = Some(now + wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86400);

    fn at(days: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * (10_000 + days)
    }

    #[test]
    fn the_first_is_ordered_at_once_and_the_next_at_two_thirds() {
        let mut s = Schedule::default();
        assert_eq!(s.wait(None, at(0)), Duration::ZERO);
        let validity = Some((at(0), at(90)));
        s.issued((at(0), at(90)), at(0));
        assert_eq!(s.wait(validity, at(0)), DAY * 60);
        assert_eq!(s.wait(validity, at(59)), DAY);
        assert_eq!(s.wait(validity, at(60)), Duration::ZERO);
        assert_eq!(s.wait(validity, at(200)), Duration::ZERO, "expired");
        assert_eq!(Schedule::default().wait(validity, at(59)), DAY, "after a restart too");
    }

    #[test]
    fn failures_are_tried_again_ever_less_often() {
        let mut s = Schedule::default();
        let waits: Vec<u64> = (0..9).map(|_| s.failed(at(0)).as_secs()).collect();
        assert_eq!(waits, [60, 180, 540, 1620, 4860, 14580, 43200, 43200, 43200]);
        assert_eq!(s.wait(None, at(0)), LONGEST);
        assert_eq!(s.wait(None, at(1)), Duration::ZERO);
        s.issued((at(1), at(90)), at(1));
        assert_eq!(s.failed(at(2)), FIRST, "forgotten");
    }

    #[test]
    fn a_certificate_that_is_old_when_it_comes_is_not_ordered_in_a_loop() {
        let mut s = Schedule::default();
        let old = (at(0), at(11));
        for wait in [1, 3, 9] {
            s.issued(old, at(10));
            assert_eq!(s.wait(Some(old), at(10)), FIRST * wait);
        }
        s.issued((at(10), at(100)), at(10));
        assert_eq!(s.wait(None, at(10)), GAP, "nor one that is lost");
        assert_eq!(s.wait(None, at(11)), Duration::ZERO);
    }

    #[test]
    fn a_clock_set_back_does_not_stop_it() {
        let mut s = Schedule::default();
        s.failed(at(3000));
        assert!(s.wait(None, at(0)) <= LONGEST);
        assert_eq!(s.wait(Some((at(10), at(5))), at(3001)), Duration::ZERO, "nonsense is replaced");
    }
}
