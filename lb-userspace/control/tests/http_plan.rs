//! What layer 7 is told, of everything that is known: who gets requests, who drains, who leaves.

use std::time::{Duration, Instant};

use lb_control::drain::{Drains, Why};
use lb_control::health::{Health, target};
use lb_control::http_plan::{http_plan, sharing};
use lb_control::names::Names;
use lb_control::overrides::Overrides;
use lb_control::reconcile::plan_state;
use lb_control::truth::Truth;
use lb_gateway::{HttpPlan, MemberPlan, MemberState};
use lb_model::{BackendId, Desired, Observation};

const FILE: &str = r#"
[[listener]]
name = "edge"
listen = "127.0.0.1:8080"
[[pool]]
name = "web"
backends = [{ address = "10.0.0.1:80" }, { address = "10.0.0.2:80", weight = 0 }, { address = "10.0.0.3:80", backup = true }]
[pool.health]
type = "tcp"
[[pool]]
name = "flows"
backends = [{ address = "10.0.1.1:80" }]
[[service]]
name = "four"
listen = "127.0.0.1:9090/tcp"
pool = "flows"
[[route]]
name = "all"
pool = "web"
"#;

fn desired(text: &str) -> Desired {
    lb_config::parse(text, "lb.toml").unwrap_or_else(|e| panic!("{e:?}")).desired
}

fn id(address: &str) -> BackendId {
    BackendId { pool: "web".parse().expect("a name"), address: address.parse().expect("an address") }
}

/// Everything is up but the addresses given.
fn seen(desired: &Desired, down: &[&str]) -> Health {
    let truth = Truth { desired: desired.clone(), ..Truth::default() };
    let mut health = Health::default();
    health.watch(truth.targets(&Names::default()));
    for ip in down {
        let ip = ip.parse().expect("an address");
        let target = target(desired, &desired.pools["web"], ip, Some(80)).expect("it is probed");
        assert!(health.record(&target, Observation::Unhealthy("refused".into())));
    }
    health
}

#[expect(clippy::disallowed_methods, reason = "any moment to begin from")]
fn now() -> Instant {
    Instant::now()
}

fn plan(desired: &Desired, health: &Health, drains: &Drains) -> HttpPlan {
    http_plan(desired, &Overrides::default(), health, drains, &Names::default())
}

fn members(plan: &HttpPlan) -> Vec<MemberPlan> {
    plan.pools["web"].members.clone()
}

#[test]
fn each_layer_has_its_own_pools() {
    let desired = desired(FILE);
    let (health, drains) = (Health::default(), Drains::default());
    let http = plan(&desired, &health, &drains);
    let plane = plan_state(&desired, &Overrides::default(), &health, &drains, &Names::default());
    assert_eq!(http.pools.keys().map(|n| n.as_str()).collect::<Vec<_>>(), ["web"]);
    assert_eq!(plane.pools.keys().map(|n| n.as_str()).collect::<Vec<_>>(), ["flows"]);
    assert_eq!((http.listeners.len(), http.routes.len()), (1, 1));
    let flags: Vec<_> = members(&http).iter().map(|m| (m.eligible, m.backup, m.weight)).collect();
    assert_eq!(flags, [(true, false, 1), (false, false, 0), (true, true, 1)]);
}

#[test]
fn the_unhealthy_and_the_draining_get_nothing_new() {
    let desired = desired(FILE);
    let health = seen(&desired, &["10.0.0.1"]);
    let mut drains = Drains::default();
    drains.start(id("10.0.0.3:80").into(), Why::Command, now() + Duration::from_secs(9));
    let states: Vec<_> = members(&plan(&desired, &health, &drains)).iter().map(|m| (m.eligible, m.state)).collect();
    assert_eq!(states, [(false, MemberState::Down), (false, MemberState::Up), (false, MemberState::Draining)]);
}

#[test]
fn all_down_spreads_where_the_pool_says_so() {
    let spreading = FILE.replace("name = \"web\"\nbackends", "name = \"web\"\non_all_down = \"spread\"\nbackends");
    for (text, eligible) in [(FILE, [false, false, false]), (&spreading, [true, false, true])] {
        let desired = desired(text);
        let health = seen(&desired, &["10.0.0.1", "10.0.0.3"]);
        let got: Vec<bool> = members(&plan(&desired, &health, &Drains::default())).iter().map(|m| m.eligible).collect();
        assert_eq!(got, eligible);
    }
}

#[test]
fn what_leaves_stays_until_its_requests_have_ended() {
    let now = now();
    let names = Names::default();
    let before = Truth { desired: desired(FILE), ..Truth::default() };
    let smaller = FILE.replace("{ address = \"10.0.0.1:80\" }, ", "");
    let mut after = Truth { desired: desired(&smaller), ..Truth::default() };
    after.part_with(&before, &names, now);
    let http = after.http_plan(&Health::default(), &names);
    let last = members(&http).pop().expect("members");
    assert_eq!((last.configured.to_string().as_str(), last.state), ("10.0.0.1:80", MemberState::Draining));
    assert!(!last.eligible);
    let plane = after.plan(&Health::default(), &names);
    assert!(!plane.pools.contains_key("web"), "layer 4 never knew it");

    // A pool that is gone altogether stays as long as something leaves it.
    let gone =
        desired(&FILE.replace("pool = \"web\"", "pool = \"flows\"").replace("name = \"web\"", "name = \"other\""));
    let mut after = Truth { desired: gone, ..Truth::default() };
    after.part_with(&before, &names, now);
    assert_eq!(after.http_plan(&Health::default(), &names).pools["web"].members.len(), 3);
    // Requests do not move to another process: nothing of it outlives this one.
    for _ in 0..3 {
        after.drains.advance(|_| 0, now + Duration::from_secs(5));
        after.drains.advance(|_| 0, now + Duration::from_secs(9));
    }
    assert!(!after.http_plan(&Health::default(), &names).pools.contains_key("web"));
}

#[test]
fn the_longest_time_to_drain_counts() {
    let text = FILE.replace("name = \"flows\"\n", "name = \"flows\"\ndrain_timeout = \"7s\"\n");
    let shared =
        text.replace("pool = \"web\"", "pool = \"flows\"").replace("/tcp\"\n", "/tcp\"\ndrain_timeout = \"3s\"\n");
    let truth = Truth { desired: desired(&shared), ..Truth::default() };
    assert_eq!(truth.drain_timeout(&"flows".parse().expect("a name")), Some(Duration::from_secs(7)));
}

#[test]
fn what_is_as_before_is_the_same_value() {
    let desired = desired(FILE);
    let before = plan(&desired, &Health::default(), &Drains::default());
    let health = seen(&desired, &["10.0.0.1"]);
    let after = sharing(plan(&desired, &health, &Drains::default()), &before);
    assert!(std::sync::Arc::ptr_eq(&after.routes[0], &before.routes[0]));
    assert!(std::sync::Arc::ptr_eq(&after.listeners["edge"], &before.listeners["edge"]));
    assert!(!std::sync::Arc::ptr_eq(&after.pools["web"], &before.pools["web"]));
}
