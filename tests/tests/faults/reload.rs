//! The configuration is replaced under load, by good files and by bad ones.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::clock;
use lb_tests::daemon::Engine;
use lb_tests::load::spread::Protocol;

use crate::scene::{RATE, Scene, address, config, none_failed, untouched};

fn reloaded(engine: Engine) -> Result<()> {
    let scene = Scene::new(engine)?;
    let (tcp, udp) = (scene.pulse(Protocol::Tcp)?, scene.pulse(Protocol::Udp)?);
    let steady = scene.steady(RATE)?;
    clock::pass(Duration::from_millis(500));

    // Broken: refused whole, by place, and nothing changes.
    let list = scene.daemon.json(&["service", "list"])?;
    scene.daemon.write(&config(&[0, 1]).replace("pool = \"web\"", "pool = \"wob\""))?;
    let refused = scene.daemon.cli(&["reload"])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
    ensure!(refused.status.code() == Some(2), "a broken file: {} {said}", refused.status);
    ensure!(said.contains("lb.toml:") && said.contains("wob"), "names no place: {said}");
    let names = |v: &serde_json::Value| -> Vec<String> {
        v.as_array().into_iter().flatten().map(|s| format!("{} {} {}", s["name"], s["listen"], s["pool"])).collect()
    };
    ensure!(names(&list) == names(&scene.daemon.json(&["service", "list"])?), "a refused file changed services");
    ensure!(scene.text(2, "state")? == "active", "a refused file changed a backend");

    // One backend less: it drains, and keeps its flows.
    scene.daemon.write(&config(&[0, 1, 2]))?;
    scene.daemon.ok(&["reload"])?;
    let told = clock::now();
    ensure!(scene.text(3, "state")? == "draining", "a backend that left the file does not drain");
    clock::pass(Duration::from_secs(1));

    // And back, with a reload every 50 ms for a while.
    for turn in 0..20 {
        let all = if turn % 2 == 0 { config(&[0, 1, 2, 3]) } else { config(&[3, 2, 1, 0]) };
        scene.daemon.write(&all)?;
        scene.daemon.ok(&["reload"])?;
        if turn == 0 {
            ensure!(scene.text(3, "state")? == "active", "a backend that is back in the file is not active");
            ensure!(scene.text(3, "health")? == "healthy", "a reload forgot the health of a backend");
        }
        clock::pass(Duration::from_millis(50));
    }
    let back = clock::now();
    clock::pass(Duration::from_millis(500));
    let attempts = steady.stop()?;
    none_failed(&attempts, RATE, None)?;
    let gone = told + Duration::from_millis(900);
    let late = attempts.iter().find(|a| a.began > told && a.began < gone && a.outcome.as_deref() == Ok("b3"));
    ensure!(late.is_none(), "a new flow went to the backend that left: {late:?}");
    let again = attempts.iter().any(|a| a.began > back && a.outcome.as_deref() == Ok("b3"));
    ensure!(again, "no new flow on {} since it is back", address(3));
    untouched(&tcp.stop()?, None)?;
    untouched(&udp.stop()?, None)
}

#[test]
fn xdp_reloads_under_load_fail_nothing() -> Result<()> {
    reloaded(Engine::Xdp)
}

#[test]
fn userspace_reloads_under_load_fail_nothing() -> Result<()> {
    reloaded(Engine::Userspace)
}

/// A change of weight moves no established flow.
#[test]
fn xdp_weight_changes_move_no_established_flow() -> Result<()> {
    let scene = Scene::new(Engine::Xdp)?;
    let (tcp, udp) = (scene.pulse(Protocol::Tcp)?, scene.pulse(Protocol::Udp)?);
    scene.daemon.ok(&["backend", "set", "web", &address(0), "--weight", "0"])?;
    scene.daemon.ok(&["backend", "set", "web", &address(1), "--weight", "100"])?;
    ensure!(scene.text(0, "state")? == "active", "weight 0 is not a drain");
    let fresh = scene.fresh(Protocol::Tcp, 50_000, 1000)?;
    let on = |name: &str| fresh.iter().filter(|(_, b)| b == name).count();
    ensure!(on("b0") == 0 && on("b1") > 950, "b0 {}, b1 {} of 1000", on("b0"), on("b1"));
    clock::pass(Duration::from_secs(1));
    untouched(&tcp.stop()?, None)?;
    untouched(&udp.stop()?, None)
}
