//! Many targets for a simulated hour, seeded: the schedule keeps its invariants, its bounds and its memory.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lb_health::{Schedule, Target, Watch};
use lb_model::{HealthCheck, HealthKind, Observation};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn target(n: u16, interval_ms: u64) -> Target {
    let check = HealthCheck {
        kind: HealthKind::Tcp,
        interval: Duration::from_millis(interval_ms),
        timeout: Duration::from_millis(200),
        rise: 2,
        fall: 3,
        jitter_percent: 10,
        port: None,
    };
    Target { address: SocketAddr::from(([127, 0, 0, 1], n)), check }
}

fn unknown(targets: &[Target]) -> Vec<Watch> {
    targets.iter().cloned().map(Watch::from).collect()
}

fn epoch() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Runs what is due until `end`; each probe takes up to 200 ms and succeeds unless `dead` says otherwise.
struct World {
    schedule: Schedule,
    rng: StdRng,
    now: Instant,
    in_flight: Vec<(Instant, u64, Target)>,
    seen: HashMap<Target, Observation>,
    last_start: HashMap<Target, Instant>,
}

impl World {
    fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Self {
            schedule: Schedule::new(seed),
            rng: StdRng::seed_from_u64(seed),
            now: epoch(),
            in_flight: Vec::new(),
            seen: HashMap::new(),
            last_start: HashMap::new(),
        }
    }

    fn run(&mut self, end: Instant, dead: &dyn Fn(&Target) -> bool) {
        while self.now < end {
            while let Some((id, target)) = self.schedule.start(self.now) {
                if let Some(before) = self.last_start.insert(target.clone(), self.now) {
                    let gap = self.now - before;
                    let interval = target.check.interval;
                    let late = Duration::from_millis(201);
                    assert!(gap >= interval.mul_f64(0.9) && gap <= interval.max(late), "{gap:?} of {interval:?}");
                }
                let took = Duration::from_millis(self.rng.random_range(0..=200));
                self.in_flight.push((self.now + took, id, target));
            }
            self.schedule.check_invariants();
            let done = self.in_flight.iter().map(|f| f.0).min();
            let next = [done, self.schedule.next_wake(), Some(end)].into_iter().flatten().min().expect("an end");
            self.now = self.now.max(next);
            let now = self.now;
            let (over, rest) = self.in_flight.drain(..).partition(|f| f.0 <= now);
            self.in_flight = rest;
            for (_, id, target) in over {
                let outcome = if dead(&target) { Err("connection refused".to_owned()) } else { Ok(()) };
                if let Some(report) = self.schedule.finish(id, outcome, now) {
                    self.seen.insert(report.target, report.observation);
                }
            }
        }
    }
}

#[test]
fn a_dead_backend_is_seen_in_time() {
    for seed in 0..6 {
        let targets: Vec<Target> = (1..=50).map(|n| target(n, 500)).collect();
        let mut w = World::new(seed);
        let start = w.now;
        w.schedule.watch(unknown(&targets), start);
        w.run(start + Duration::from_secs(20), &|_| false);
        assert!(targets.iter().all(|t| w.seen[t] == Observation::Healthy));
        let killed = w.now;
        let dead = |t: &Target| t.address.port() <= 10;
        // interval × fall + timeout.
        w.run(killed + Duration::from_millis(500 * 3 + 200), &dead);
        for t in &targets {
            assert_eq!(w.seen[t].is_down(), dead(t), "seed {seed}: {}", t.address);
        }
        // And back: interval × rise + timeout.
        let revived = w.now;
        w.run(revived + Duration::from_millis(500 * 2 + 200), &|_| false);
        assert!(targets.iter().all(|t| w.seen[t] == Observation::Healthy), "seed {seed}");
    }
}

#[test]
fn a_reload_keeps_state_and_timetable() {
    let both = [target(1, 1000), target(2, 1000)];
    let mut w = World::new(7);
    let start = w.now;
    w.schedule.watch(unknown(&both), start);
    w.run(start + Duration::from_millis(700), &|t| t.address.port() == 1);
    let due = w.schedule.next_wake();
    w.seen.clear();
    // The second goes, the first stays, a third comes with what is known of it.
    let third = target(3, 1000);
    let before = Observation::Unhealthy("before".into());
    let next = vec![both[0].clone().into(), Watch { target: third.clone(), known: before, hearsay: false }];
    let now = w.now;
    w.schedule.watch(next, now);
    assert_eq!(w.schedule.len(), 2);
    assert!(w.schedule.start(now).is_some_and(|(_, t)| t == third), "the new one is probed at once");
    assert!(w.schedule.next_wake() >= due, "the old one is not probed any earlier for it");
    assert!(w.schedule.start(now).is_none());
}

#[test]
fn targets_come_and_go_without_a_trace() {
    for seed in 100..102 {
        let mut w = World::new(seed);
        let mut end = w.now;
        for _ in 0..200 {
            let n = w.rng.random_range(0..30);
            let targets: Vec<Target> = (0..n).map(|_| target(w.rng.random_range(1..40), 1000)).collect();
            let now = w.now;
            w.schedule.watch(unknown(&targets), now);
            w.last_start.clear();
            end += Duration::from_millis(w.rng.random_range(0..3000));
            w.run(end, &|t| t.address.port().is_multiple_of(3));
        }
        let now = w.now;
        w.schedule.watch(Vec::new(), now);
        w.schedule.check_invariants();
        assert!(w.schedule.is_empty() && w.schedule.next_wake().is_none());
    }
}
