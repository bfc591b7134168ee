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

/// Counts that were lost: by how much the counters of a backend differ from what is in the tables, beyond what flows that
/// came and went during a pass can explain. A pass sees the tables at some time between its begin and its end, so without
/// a loss the difference is at most the number of flows opened and closed meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Drift {
    /// What the last pass could not explain.
    last: HashMap<u32, i64>,
}

impl Drift {
    /// What to add to the backend's count of reaped flows: what two passes in a row could not explain. `churn`: flows
    /// opened and closed during the pass.
    pub fn correction(&mut self, backend: u32, counters: i64, counted: u64, churn: u64) -> i64 {
        let difference = counters - counted.cast_signed();
        let excess = difference.unsigned_abs().saturating_sub(churn).cast_signed() * difference.signum();
        if excess == 0 {
            self.last.remove(&backend);
            return 0;
        }
        match self.last.insert(backend, excess) {
            Some(before) if before.signum() == excess.signum() => {
                self.last.remove(&backend);
                excess.signum() * excess.abs().min(before.abs())
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_traffic_cannot_explain_is_corrected() {
        let mut d = Drift::default();
        assert_eq!((d.correction(1, 10, 7, 3), d.correction(1, 10, 7, 3)), (0, 0), "three flows came and went");
        assert_eq!((d.correction(1, 12, 10, 0), d.correction(1, 22, 20, 0)), (0, 2), "two are lost");
        assert_eq!((d.correction(1, 22, 20, 0), d.correction(1, 20, 20, 0), d.correction(1, 22, 20, 0)), (0, 0, 0));
        assert_eq!((d.correction(2, 50, 10, 5), d.correction(2, 40, 10, 10)), (0, 20), "at least so many");
        assert_eq!((d.correction(3, 5, 8, 0), d.correction(3, 5, 8, 1)), (0, -2), "too low");
        assert_eq!((d.correction(4, 5, 8, 0), d.correction(4, 9, 8, 0)), (0, 0), "once too low, once too high");
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
