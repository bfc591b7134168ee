//! Rise and fall: from one target's outcomes to its observation.

use lb_model::Observation;

use crate::Outcome;

/// One target's state machine.
///
/// The first outcome of an unknown target decides at once, whatever `rise` and `fall` say: a balancer that starts knows
/// after one probe whom to send flows to. From then on `fall` failures in a row make it unhealthy and `rise` successes
/// in a row healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracker {
    rise: u32,
    fall: u32,
    observation: Observation,
    /// Outcomes in a row that speak against the observation.
    against: u32,
    /// The observation comes from elsewhere, and the first outcome decides against it too.
    hearsay: bool,
}

impl Tracker {
    /// Begins with what is known already: a target whose check has changed keeps its observation until probes say
    /// otherwise. `rise` and `fall` of 0 count as 1.
    #[must_use]
    pub fn new(rise: u32, fall: u32, known: Observation) -> Self {
        Self { rise: rise.max(1), fall: fall.max(1), observation: known, against: 0, hearsay: false }
    }

    /// Begins with what an earlier process saw: it holds until the first outcome, which decides at once.
    #[must_use]
    pub fn with_hearsay(self) -> Self {
        Self { hearsay: true, ..self }
    }

    #[must_use]
    pub const fn observation(&self) -> &Observation {
        &self.observation
    }

    /// Takes one outcome; true if the observation changed (a new reason is a change too).
    pub fn record(&mut self, outcome: Outcome) -> bool {
        let first = std::mem::take(&mut self.hearsay);
        let next = match (&self.observation, outcome) {
            (Observation::Unknown, Ok(())) => Observation::Healthy,
            (Observation::Unknown, Err(why)) => Observation::Unhealthy(why),
            (Observation::Unhealthy(_), Ok(())) if first => Observation::Healthy,
            (Observation::Healthy, Err(why)) if first => Observation::Unhealthy(why),
            (Observation::Healthy, Ok(())) => {
                self.against = 0;
                return false;
            }
            (Observation::Healthy, Err(why)) => {
                self.against += 1;
                if self.against < self.fall {
                    return false;
                }
                Observation::Unhealthy(why)
            }
            (Observation::Unhealthy(_), Ok(())) => {
                self.against += 1;
                if self.against < self.rise {
                    return false;
                }
                Observation::Healthy
            }
            (Observation::Unhealthy(before), Err(why)) => {
                self.against = 0;
                if *before == why {
                    return false;
                }
                Observation::Unhealthy(why)
            }
        };
        self.against = 0;
        self.observation = next;
        true
    }

    /// What holds between any two calls.
    ///
    /// # Panics
    /// If it does not.
    pub fn check_invariants(&self) {
        match self.observation {
            Observation::Unknown => assert_eq!(self.against, 0),
            Observation::Healthy => assert!(self.against < self.fall),
            Observation::Unhealthy(_) => assert!(self.against < self.rise),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn no() -> Outcome {
        Err("connection refused".into())
    }

    #[test]
    fn the_first_outcome_decides() {
        let mut t = Tracker::new(3, 3, Observation::Unknown);
        assert!(t.record(no()) && t.observation().is_down());
        let mut t = Tracker::new(3, 3, Observation::Unknown);
        assert!(t.record(Ok(())) && *t.observation() == Observation::Healthy);
    }

    #[test]
    fn rise_and_fall_count_in_a_row() {
        let mut t = Tracker::new(2, 3, Observation::Healthy);
        for outcome in [no(), no(), Ok(()), no(), no()] {
            assert!(!t.record(outcome));
        }
        assert!(t.record(no()), "the third in a row");
        for outcome in [Ok(()), no(), Ok(())] {
            assert!(!t.record(outcome));
        }
        assert!(t.record(Ok(())) && *t.observation() == Observation::Healthy);
    }

    #[test]
    fn hearsay_falls_to_the_first_outcome() {
        let mut t = Tracker::new(3, 3, Observation::Unhealthy("before".into())).with_hearsay();
        assert!(t.record(Ok(())) && *t.observation() == Observation::Healthy);
        assert!(!t.record(no()), "and then fall counts");
        let mut t = Tracker::new(3, 3, Observation::Unhealthy("before".into())).with_hearsay();
        assert!(t.record(no()));
        assert!(!t.record(Ok(())), "and then rise counts");
    }

    #[test]
    fn a_new_reason_is_told() {
        let mut t = Tracker::new(2, 1, Observation::Unhealthy("connection refused".into()));
        assert!(!t.record(no()));
        assert!(t.record(Err("timed out after 1s".into())));
        assert_eq!(*t.observation(), Observation::Unhealthy("timed out after 1s".into()));
    }

    proptest! {
        /// Against a second description: the observation follows the last `rise`/`fall` outcomes.
        #[test]
        fn agrees_with_history(rise in 1u32..5, fall in 1u32..5, outcomes in prop::collection::vec(any::<bool>(), 1..200)) {
            let mut t = Tracker::new(rise, fall, Observation::Unknown);
            let mut up = outcomes[0];
            for (i, &ok) in outcomes.iter().enumerate() {
                t.record(if ok { Ok(()) } else { no() });
                t.check_invariants();
                let need = if up { fall } else { rise } as usize;
                let tail = outcomes[..=i].iter().rev().take_while(|&&o| o != up).count();
                if tail >= need {
                    up = !up;
                }
                prop_assert_eq!(*t.observation() == Observation::Healthy, up);
            }
        }
    }
}
