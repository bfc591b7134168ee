//! Rates from two readings of a counter.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Flows, packets and bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rate {
    pub(super) flows: f64,
    pub(super) packets: f64,
    pub(super) bytes: f64,
}

pub(super) type Reading = [u64; 3];

/// The last reading of each thing, by name.
#[derive(Debug, Default)]
pub(super) struct Rates {
    last: Option<Instant>,
    readings: HashMap<String, Reading>,
    rates: HashMap<String, Rate>,
}

impl Rates {
    pub(super) fn update(&mut self, now: Instant, readings: HashMap<String, Reading>) {
        let elapsed = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last)).as_secs_f64();
        if elapsed > 0.0 {
            let before = &self.readings;
            let rate = |(name, new): (&String, &Reading)| {
                let old = before.get(name).unwrap_or(new);
                // A counter that fell began anew.
                let per_second = |i: usize| new[i].saturating_sub(old[i]) as f64 / elapsed;
                (name.clone(), Rate { flows: per_second(0), packets: per_second(1), bytes: per_second(2) })
            };
            self.rates = readings.iter().map(rate).collect();
        }
        self.last = Some(now);
        self.readings = readings;
    }

    pub(super) fn of(&self, name: &str) -> Rate {
        self.rates.get(name).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any moment to begin from")]
    fn per_second() {
        let begin = Instant::now();
        let mut rates = Rates::default();
        let reading = |r: Reading| HashMap::from([("a".to_owned(), r)]);
        rates.update(begin, reading([10, 100, 1000]));
        assert_eq!(rates.of("a"), Rate::default());
        rates.update(begin + Duration::from_secs(2), reading([14, 100, 3000]));
        assert_eq!(rates.of("a"), Rate { flows: 2.0, packets: 0.0, bytes: 1000.0 });
        rates.update(begin + Duration::from_secs(3), reading([0, 0, 0]));
        assert_eq!(rates.of("a"), Rate::default());
        assert_eq!(rates.of("b"), Rate::default());
    }
}
