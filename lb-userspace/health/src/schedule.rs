//! Which target is probed when: one entry per target, spread at the start and jittered ever after.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::{Outcome, Report, Target, Tracker, Watch};

/// Names a target while it is watched; never used again after.
pub type ProbeId = u64;

/// First probes of a batch of new targets are this far apart, so that thousands of them do not leave at once.
const SPREAD: Duration = Duration::from_millis(1);

#[derive(Debug)]
struct Entry {
    target: Target,
    tracker: Tracker,
    /// When the next probe is due; that of a probe under way, when the one after it is.
    next: Instant,
    in_flight: bool,
    /// Probes so far: the jitter's counter.
    count: u64,
}

/// Every watched target and its timetable. Deterministic: the same seed and events give the same probes.
#[derive(Debug)]
pub struct Schedule {
    seed: u64,
    last_id: ProbeId,
    ids: HashMap<Target, ProbeId>,
    entries: HashMap<ProbeId, Entry>,
    /// Entries that are not in flight, by when they are due.
    due: BTreeSet<(Instant, ProbeId)>,
}

impl Schedule {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, last_id: 0, ids: HashMap::new(), entries: HashMap::new(), due: BTreeSet::new() }
    }

    /// Watches these targets and no others. A target that was watched already keeps its state and its timetable; a new
    /// one begins with the observation given and is probed at once (a little later the more there are).
    pub fn watch(&mut self, watches: impl IntoIterator<Item = Watch>, now: Instant) {
        let mut keep = BTreeSet::new();
        let mut fresh = 0u32;
        for watch in watches {
            let id = match self.ids.get(&watch.target) {
                Some(id) => *id,
                None => {
                    let after = (SPREAD * fresh).min(watch.target.check.interval);
                    fresh += 1;
                    self.add(watch, now + after)
                }
            };
            keep.insert(id);
        }
        let gone: Vec<ProbeId> = self.entries.keys().copied().filter(|id| !keep.contains(id)).collect();
        for id in gone {
            if let Some(entry) = self.entries.remove(&id) {
                self.ids.remove(&entry.target);
                self.due.remove(&(entry.next, id));
            }
        }
    }

    fn add(&mut self, watch: Watch, next: Instant) -> ProbeId {
        let Watch { target, known, hearsay } = watch;
        self.last_id += 1;
        let id = self.last_id;
        let tracker = Tracker::new(target.check.rise, target.check.fall, known);
        let tracker = if hearsay { tracker.with_hearsay() } else { tracker };
        self.ids.insert(target.clone(), id);
        self.entries.insert(id, Entry { target, tracker, next, in_flight: false, count: 0 });
        self.due.insert((next, id));
        id
    }

    /// When [`Schedule::start`] has something to say; `None` while nothing is watched or everything is under way.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// A probe that is due, to be run now; its end is to be told by [`Schedule::finish`].
    pub fn start(&mut self, now: Instant) -> Option<(ProbeId, Target)> {
        let (at, id) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.due.remove(&(at, id));
        let seed = self.seed;
        let entry = self.entries.get_mut(&id)?;
        entry.in_flight = true;
        entry.count += 1;
        entry.next = now + period(&entry.target, mix(seed ^ mix(id) ^ entry.count));
        Some((id, entry.target.clone()))
    }

    /// Takes a probe's outcome; a report if the observation changed. Outcomes of targets no longer watched are dropped.
    pub fn finish(&mut self, id: ProbeId, outcome: Outcome, now: Instant) -> Option<Report> {
        let entry = self.entries.get_mut(&id)?;
        entry.in_flight = false;
        entry.next = entry.next.max(now);
        self.due.insert((entry.next, id));
        let changed = entry.tracker.record(outcome);
        changed.then(|| Report { target: entry.target.clone(), observation: entry.tracker.observation().clone() })
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What holds between any two calls.
    ///
    /// # Panics
    /// If it does not.
    pub fn check_invariants(&self) {
        assert_eq!(self.ids.len(), self.entries.len(), "a target is watched once");
        for (id, entry) in &self.entries {
            assert_eq!(self.ids.get(&entry.target), Some(id));
            assert_eq!(self.due.contains(&(entry.next, *id)), !entry.in_flight, "due or in flight, never both");
            entry.tracker.check_invariants();
        }
        let waiting = self.entries.values().filter(|e| !e.in_flight).count();
        assert_eq!(self.due.len(), waiting, "nothing due that is not watched");
    }
}

/// From one probe's start to the next one's. Jitter only shortens it, so that a dead backend is seen within
/// `interval × fall + timeout`, always.
fn period(target: &Target, random: u64) -> Duration {
    let interval = target.check.interval.max(Duration::from_millis(1));
    let most = interval.as_nanos() * u128::from(target.check.jitter_percent.min(100)) / 100;
    let less = (u128::from(random >> 32) * most) >> 32;
    interval.saturating_sub(Duration::from_nanos(u64::try_from(less).unwrap_or(0)))
}

/// The finaliser of SplitMix64 (Steele et al., 2014).
const fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
