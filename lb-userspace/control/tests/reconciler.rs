//! The reconciler as a function: differences carry one state into another, and its rules hold for any pool.

mod mock;

use std::time::Duration;

use lb_control::drain::{Drains, Key, Phase, Why};
use lb_control::health::Health;
use lb_control::names::Names;
use lb_control::overrides::{Change, Overrides};
use lb_control::reconcile::plan_state;
use lb_dataplane::{Condition, PlaneState};
use lb_model::{
    Backend, BackendId, Desired, HealthCheck, HealthKind, Name, Observation, OnAllDown, Pool, Service, Weight,
};
use proptest::prelude::*;

/// One backend's circumstances.
#[derive(Clone, Copy, Debug)]
struct Case {
    weight: u32,
    down: bool,
    draining: bool,
    expired: bool,
    removed: bool,
    override_weight: Option<u32>,
}

fn case() -> impl Strategy<Value = Case> {
    let few = prop::option::of(0u32..=3);
    let parts = (0u32..=3, any::<bool>(), prop::bool::weighted(0.3), any::<bool>(), prop::bool::weighted(0.2), few);
    parts.prop_map(|(weight, down, draining, expired, removed, override_weight)| Case {
        weight,
        down,
        draining,
        expired,
        removed,
        override_weight,
    })
}

fn check() -> HealthCheck {
    HealthCheck {
        kind: HealthKind::Tcp,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        rise: 1,
        fall: 1,
        jitter_percent: 0,
        port: None,
    }
}

fn name(n: usize) -> Name {
    format!("pool-{n}").parse().expect("a name")
}

fn build(pools: &[(bool, Vec<Case>)]) -> PlaneState {
    let mut desired = Desired::default();
    let (mut changes, mut drains, mut down) = (Vec::new(), Drains::default(), Vec::new());
    let now = tokio::time::Instant::now().into_std();
    for (p, (spread, cases)) in pools.iter().enumerate() {
        let mut backends = Vec::new();
        for (i, case) in cases.iter().enumerate() {
            let address = format!("10.{p}.0.{i}:80").parse().expect("an address");
            backends.push(Backend { address, weight: Weight::new(case.weight).expect("small"), backup: false });
            let id = BackendId { pool: name(p), address: backends[i].address.clone() };
            let weight = case.override_weight.and_then(Weight::new);
            changes.push((id.clone(), Change { added: false, removed: case.removed, weight, draining: case.draining }));
            if case.draining && !case.removed {
                let phase = if case.expired { Phase::Done { expired: true } } else { Phase::Waiting { deadline: now } };
                drains.restore(Key::from(id), Why::Command, phase);
            }
            if case.down {
                let address = format!("10.{p}.0.{i}:80").parse().expect("an address");
                down.push(lb_health::Target { address, check: check() });
            }
        }
        let mut pool = Pool::new(name(p), Default::default(), backends).expect("no address twice");
        pool.health = Some(check());
        pool.on_all_down = if *spread { OnAllDown::Spread } else { OnAllDown::Drop };
        desired.pools.insert(name(p), pool);
        let listen = format!("192.0.2.{p}:80/tcp").parse().expect("a listen");
        desired.services.insert(name(p), Service::new(name(p), listen, name(p)));
    }
    let mut health = Health::default();
    health.watch(down.clone());
    for target in &down {
        health.record(target, Observation::Unhealthy("down".into()));
    }
    plan_state(&desired, &changes.into_iter().collect::<Overrides>(), &health, &drains, &Names::default())
}

fn pools() -> impl Strategy<Value = Vec<(bool, Vec<Case>)>> {
    prop::collection::vec((any::<bool>(), prop::collection::vec(case(), 0..6)), 0..5)
}

proptest! {
    #[test]
    fn a_difference_applied_is_the_next_state(a in pools(), b in pools()) {
        let (mut a, b) = (build(&a), build(&b));
        let changes = a.diff(&b);
        for change in &changes {
            a.apply(change);
            // On the way no service lacks its pool.
            prop_assert!(a.services.values().all(|s| a.pools.contains_key(&s.pool)));
        }
        prop_assert_eq!(&a, &b);
        prop_assert!(a.diff(&b).is_empty());
    }

    #[test]
    fn who_takes_new_flows(pools in pools()) {
        let state = build(&pools);
        for (p, (spread, cases)) in pools.iter().enumerate() {
            let members = &state.pools[&name(p)].members;
            let kept: Vec<&Case> = cases.iter().filter(|c| !c.removed).collect();
            prop_assert_eq!(members.len(), kept.len());
            let weight = |c: &Case| c.override_weight.unwrap_or(c.weight);
            let wants = |c: &Case| weight(c) > 0 && !c.draining;
            let none_healthy = !kept.iter().any(|c| wants(c) && !c.down);
            for (m, c) in members.iter().zip(&kept) {
                prop_assert_eq!(u32::from(m.weight.get()), weight(c));
                let spreads = *spread && none_healthy && wants(c);
                prop_assert_eq!(m.eligible, wants(c) && (!c.down || spreads));
                let condition = match (c.draining && c.expired, c.down && !spreads) {
                    (true, _) => Condition::Expired,
                    (_, true) => Condition::Down,
                    _ => Condition::Up,
                };
                prop_assert_eq!(m.condition, condition);
            }
        }
    }
}
