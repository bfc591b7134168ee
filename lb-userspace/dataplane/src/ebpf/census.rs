//! What one pass over the flow tables has counted, and what follows from it. Pure.

use std::collections::HashMap;

use lb_common::backend::Load;
use lb_common::flow::{Flow, seen, side, state};

/// One count per number; what was never counted is 0. A list, not a hash map: a pass counts millions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(Vec<u64>);

impl Tally {
    #[must_use]
    pub fn of(&self, number: u32) -> u64 {
        self.0.get(number as usize).copied().unwrap_or(0)
    }

    fn add(&mut self, number: u32, n: u64) {
        let at = number as usize;
        if at >= self.0.len() {
            self.0.resize(at + 1, 0);
        }
        self.0[at] += n;
    }
}

/// Counts of one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Forward halves that count as opened on their backend.
    pub counted: Tally,
    /// Active fresh forward halves by backend.
    pub fresh: Tally,
    /// Active forward halves by service.
    pub by_service: Tally,
    /// Halves of any kind, active or not, by backend and by service.
    pub of_backend: Tally,
    pub of_service: Tally,
    /// Forward halves of any state, and entries of any kind.
    pub flows: u64,
    pub entries: u64,
}

impl Census {
    /// Takes one half into account that stays.
    pub fn note(&mut self, flow: &Flow, fresh: bool) {
        let service = u32::from(flow.service);
        self.entries += 1;
        self.of_backend.add(flow.backend, 1);
        self.of_service.add(service, 1);
        if flow.side != side::FORWARD {
            return;
        }
        self.flows += 1;
        let active = u64::from(state::is_active(flow.state));
        self.by_service.add(service, active);
        if fresh {
            self.fresh.add(flow.backend, active);
        } else if flow.seen & seen::COUNTED != 0 {
            self.counted.add(flow.backend, 1);
        }
    }
}

/// Active flows as the kernel's counters have them.
#[must_use]
pub const fn active(load: Load, reaped: u64) -> i64 {
    load.opened.wrapping_sub(load.closed).wrapping_sub(reaped).cast_signed()
}

/// By how much the counters of a backend were too high at the end of the last two passes. A pass takes a while, during
/// which flows come and go; a difference that stays exactly the same is a count that was lost.
#[derive(Clone, Debug, Default)]
pub struct Drift {
    last: HashMap<u32, i64>,
}

impl Drift {
    /// What to add to the backend's count of reaped flows.
    pub fn correction(&mut self, backend: u32, counters: i64, counted: u64) -> i64 {
        let difference = counters - counted.cast_signed();
        if difference == 0 {
            self.last.remove(&backend);
            return 0;
        }
        if self.last.insert(backend, difference) == Some(difference) {
            self.last.remove(&backend);
            return difference;
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lasting_difference_is_corrected() {
        let mut d = Drift::default();
        assert_eq!(d.correction(1, 10, 7), 0);
        assert_eq!(d.correction(1, 12, 10), 0, "another difference: traffic");
        assert_eq!(d.correction(1, 22, 20), 2, "the same twice: lost");
        assert_eq!(d.correction(1, 22, 20), 0, "and begins anew");
        assert_eq!((d.correction(2, 5, 6), d.correction(2, 5, 5), d.correction(2, 5, 6)), (0, 0, 0));
    }

    #[test]
    fn a_census_counts_forward_halves() {
        let mut c = Census::default();
        let half = |side, state, seen| Flow { side, state, seen, backend: 3, service: 2, ..Flow::default() };
        c.note(&half(side::FORWARD, state::ESTABLISHED, seen::COUNTED), false);
        c.note(&half(side::REPLY, state::ESTABLISHED, 0), false);
        c.note(&half(side::FORWARD, state::CLOSED, 0), false);
        c.note(&half(side::FORWARD, state::FRESH, 0), true);
        assert_eq!(
            (c.flows, c.entries, c.counted.of(3), c.fresh.of(3), c.by_service.of(2), c.of_backend.of(3)),
            (3, 4, 1, 1, 2, 4)
        );
    }

    #[test]
    fn active_does_not_wrap() {
        assert_eq!(active(Load { opened: 5, closed: 3 }, 1), 1);
        assert_eq!(active(Load { opened: 5, closed: 5 }, 1), -1);
    }
}
