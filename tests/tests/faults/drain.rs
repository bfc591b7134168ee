//! A backend is drained under load: nobody notices, and it ends up drained.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::clock;
use lb_tests::daemon::Engine;
use lb_tests::load::spread::Protocol;

use crate::scene::{RATE, Scene, address, none_failed, untouched};

fn drained(engine: Engine) -> Result<()> {
    let scene = Scene::new(engine)?;
    let (tcp, udp) = (scene.pulse(Protocol::Tcp)?, scene.pulse(Protocol::Udp)?);
    let own = (tcp.on("b0") + udp.on("b0")) as u64;
    let steady = scene.steady(RATE)?;
    clock::pass(Duration::from_millis(500));

    scene.daemon.ok(&["backend", "drain", "web", &address(0), "--timeout", "60s"])?;
    let told = clock::now();
    ensure!(scene.text(0, "state")? == "draining", "not shown as draining");
    clock::until("only the long-lived flows are left on the draining backend", Duration::from_secs(20), || {
        let active = scene.number(0, "active_flows")?;
        ensure!(active >= own, "{active} flows are shown on it, {own} are there");
        ensure!(active == own, "{active} flows are left, {own} are long-lived");
        Ok(Some(()))
    })?;
    clock::pass(Duration::from_secs(2));
    let attempts = steady.stop()?;
    none_failed(&attempts, RATE, None)?;
    let late: Vec<_> = attempts.iter().filter(|a| a.began > told && a.outcome.as_deref() == Ok("b0")).collect();
    ensure!(late.is_empty(), "{} new flows went to the draining backend, the first {:?}", late.len(), late[0]);
    ensure!(scene.text(0, "state")? == "draining", "drained while flows are on it");

    // The command that waits sees the last flow off.
    let waiting = ["backend", "drain", "web", &address(0), "--timeout", "60s", "--wait"];
    let waited = std::thread::scope(|s| -> Result<()> {
        let wait = s.spawn(|| scene.daemon.ok(&waiting));
        clock::pass(Duration::from_millis(300));
        ensure!(!wait.is_finished(), "`--wait` ended while flows were left");
        untouched(&tcp.stop()?, None)?;
        untouched(&udp.stop()?, None)?;
        wait.join().map_err(|_| anyhow::anyhow!("panicked"))?.map(drop)
    });
    waited?;
    ensure!(scene.text(0, "state")? == "drained" && scene.number(0, "active_flows")? == 0, "not shown as drained");

    scene.daemon.ok(&["backend", "undrain", "web", &address(0)])?;
    ensure!(scene.text(0, "state")? == "active", "not active again");
    for protocol in Protocol::BOTH {
        let fresh = scene.fresh(protocol, 60_000, 400)?;
        ensure!(fresh.iter().any(|(_, b)| b == "b0"), "no new flow on the backend that is back");
    }
    Ok(())
}

#[test]
fn xdp_drain_under_load_fails_nothing_and_ends_drained() -> Result<()> {
    drained(Engine::Xdp)
}

#[test]
fn userspace_drain_under_load_fails_nothing_and_ends_drained() -> Result<()> {
    drained(Engine::Userspace)
}

/// At the deadline UDP flows go elsewhere and TCP flows are reset.
#[test]
fn xdp_drain_deadline_resets_tcp_and_moves_udp() -> Result<()> {
    let scene = Scene::new(Engine::Xdp)?;
    let (tcp, udp) = (scene.pulse(Protocol::Tcp)?, scene.pulse(Protocol::Udp)?);
    scene.daemon.ok(&["backend", "drain", "web", &address(0), "--timeout", "1s", "--wait"])?;
    clock::pass(Duration::from_millis(500));
    ensure!(scene.text(0, "state")? == "drained", "not drained after its deadline");
    for beat in tcp.stop()? {
        ensure!(beat.failure.is_some() == (beat.backend == "b0"), "{beat:?}");
    }
    for beat in udp.stop()? {
        ensure!(beat.failure.is_none() && beat.moved.is_some() == (beat.backend == "b0"), "{beat:?}");
    }
    Ok(())
}

/// Removing drains first; the entry stays until the last flow has gone.
#[test]
fn xdp_removed_backend_stays_listed_until_drained() -> Result<()> {
    let scene = Scene::new(Engine::Xdp)?;
    let tcp = scene.pulse(Protocol::Tcp)?;
    scene.daemon.ok(&["backend", "remove", "web", &address(0)])?;
    ensure!(scene.text(0, "state")? == "draining", "a removed backend does not drain");
    clock::pass(Duration::from_secs(1));
    let fresh = scene.fresh(Protocol::Tcp, 60_000, 400)?;
    ensure!(fresh.iter().all(|(_, b)| b != "b0"), "new flows on the removed backend");
    untouched(&tcp.stop()?, None)?;
    clock::until("the removed backend is gone from the list", Duration::from_secs(20), || {
        Ok(scene.daemon.backend("web", &address(0)).is_err().then_some(()))
    })
}
