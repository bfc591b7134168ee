//! The draining state machine in a simulated world, seeded: every backend's way from "no new flows" to its end.

mod mock;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lb_control::drain::{Drains, Event, GRACE, Key, Remains, SETTLE, Why};
use lb_model::Algorithm;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn key(n: u8) -> Key {
    mock::id("web", &format!("10.0.0.{n}:80")).into()
}

fn leaving() -> Why {
    let addresses = vec!["10.0.0.1".parse().expect("an address")];
    let remains = Remains {
        weight: Default::default(),
        addresses,
        algorithm: Algorithm::Maglev,
        maglev_table_size: 65_537,
        layer_4: true,
        http: None,
    };
    Why::Leaving { remains, hidden: false }
}

/// What the simulation knows of one backend.
struct Told {
    deadline: Instant,
    leaving: bool,
    /// When its last flow ended, if it has.
    idle_since: Option<Instant>,
    flows: u64,
    expired: bool,
}

#[test]
fn every_drain_ends_in_time_and_never_early() {
    const STEP: Duration = Duration::from_millis(250);
    for seed in 0..200 {
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let mut now = tokio::time::Instant::now().into_std();
        let mut drains = Drains::default();
        let mut world: BTreeMap<Key, Told> = BTreeMap::new();
        for _ in 0..400 {
            now += STEP;
            let k = key(rng.random_range(1..8));
            match rng.random_range(0..20) {
                0 | 1 if !world.contains_key(&k) => {
                    let deadline = now + Duration::from_millis(rng.random_range(0..15_000));
                    let leaves = rng.random_bool(0.5);
                    drains.start(k.clone(), if leaves { leaving() } else { Why::Command }, deadline);
                    let flows = rng.random_range(0..4);
                    let told = Told { deadline, leaving: leaves, idle_since: None, flows, expired: false };
                    world.insert(k, told);
                }
                2 => assert_eq!(drains.cancel(&k), world.remove(&k).is_some()),
                _ => {
                    for told in world.values_mut() {
                        told.flows = told.flows.saturating_sub(u64::from(rng.random_bool(0.05)));
                    }
                }
            }
            for told in world.values_mut() {
                if told.flows == 0 {
                    told.idle_since.get_or_insert(now);
                }
            }
            let flows: BTreeMap<_, u64> = world.iter().map(|(k, t)| (k.backend.clone(), t.flows)).collect();
            for event in drains.advance(|b| flows.get(b).copied().unwrap_or(0), now) {
                match event {
                    Event::Expired(k) => {
                        let told = world.get_mut(&k).expect("it drained");
                        assert!(now >= told.deadline && !told.expired);
                        told.expired = true;
                    }
                    Event::Drained(k) | Event::Gone(k) => {
                        let told = world.get(&k).expect("it drained");
                        let idle = told.idle_since.is_some_and(|s| now >= s + SETTLE);
                        assert!(idle || (told.expired && now >= told.deadline + GRACE), "seed {seed}: too early");
                        assert_eq!(drains.get(&k).is_none(), told.leaving);
                        if told.leaving {
                            world.remove(&k);
                        }
                    }
                }
            }
            drains.check_invariants(now);
            for (k, told) in &world {
                let drain = drains.get(k).expect("listed until gone or cancelled");
                let late = told.deadline.max(now - Duration::from_secs(400)) + GRACE + SETTLE + STEP * 2;
                assert!(drain.is_done() || now <= late, "seed {seed}: overdue");
                assert_eq!(drain.is_expired(), told.expired);
            }
        }
    }
}
