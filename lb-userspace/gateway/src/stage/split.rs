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
