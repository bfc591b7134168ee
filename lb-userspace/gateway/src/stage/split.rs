//! Which of several pools: exact shares by weight, over all workers together.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Shared by all workers; one turn a request.
#[derive(Debug)]
pub struct Split {
    /// Indices, each as often as its weight says, spread evenly.
    sequence: Vec<u32>,
    turn: AtomicUsize,
}

impl Split {
    /// Weights of which not all are 0.
    #[must_use]
    pub fn new(weights: &[u32]) -> Self {
        let largest = weights.iter().copied().max().unwrap_or(1).max(1);
        let scale = |w: u32| {
            let scaled = if largest <= u32::from(u16::MAX) {
                u64::from(w)
            } else {
                // A weight that is there keeps a share, however small.
                (u64::from(w) * u64::from(u16::MAX) / u64::from(largest)).max(u64::from(w > 0))
            };
            u16::try_from(scaled).unwrap_or(u16::MAX)
        };
        let weights: Vec<u16> = weights.iter().map(|w| scale(*w)).collect();
        Self { sequence: lb_common::wrr::sequence(&weights), turn: AtomicUsize::new(0) }
    }

    /// The index of the pool of this request; 0 if no weight is above 0.
    #[must_use]
    pub fn next(&self) -> usize {
        if self.sequence.is_empty() {
            return 0;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.sequence.len();
        self.sequence[turn] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(weights: &[u32], turns: usize) -> Vec<usize> {
        let split = Split::new(weights);
        let mut counts = vec![0; weights.len()];
        for _ in 0..turns {
            counts[split.next()] += 1;
        }
        counts
    }

    #[test]
    fn shares_are_as_the_weights_say() {
        assert_eq!(counts(&[90, 10], 1000), [900, 100]);
        assert_eq!(counts(&[1, 0, 3], 1000), [250, 0, 750]);
        assert_eq!(counts(&[1, 1], 1001), [501, 500]);
        let large = counts(&[3_000_000_000, 1_000_000_000], 1000);
        assert!((large[0] as i64 - 750).abs() <= 50, "{large:?}");
    }

    #[test]
    fn shares_hold_over_workers_together() {
        let split = Split::new(&[7, 3]);
        let first = |_| (0..500).filter(|_| split.next() == 0).count();
        let total: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..2).map(|w| scope.spawn(move || first(w))).collect();
            workers.into_iter().map(|w| w.join().expect("a worker")).sum()
        });
        assert_eq!(total, 700);
    }

    #[test]
    fn no_weights_are_no_panic() {
        assert_eq!(Split::new(&[]).next(), 0);
        assert_eq!(Split::new(&[0, 0]).next(), 0);
    }
}
