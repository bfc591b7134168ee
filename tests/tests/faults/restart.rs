//! The control plane is killed, stopped and started again while traffic flows.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::clock;
use lb_tests::daemon::Engine;
use lb_tests::load::spread::Protocol;

use crate::scene::{BACKENDS, RATE, Scene, address, none_failed, untouched};

fn totals(scene: &Scene) -> Result<Vec<[u64; 3]>> {
    let of = |i| -> Result<[u64; 3]> {
        Ok([scene.number(i, "flows_total")?, scene.number(i, "packets")?, scene.number(i, "bytes")?])
    };
    (0..BACKENDS).map(of).collect()
}

/// Nothing fails while `lb` is away, and the next one carries on with flows and counters.
fn survives(engine: Engine, leave: impl Fn(&mut Scene) -> Result<()>) -> Result<()> {
    let mut scene = Scene::new(engine)?;
    scene.daemon.ok(&["backend", "set", "web", &address(3), "--weight", "2"])?;
    let (tcp, udp) = (scene.pulse(Protocol::Tcp)?, scene.pulse(Protocol::Udp)?);
    let steady = scene.steady(RATE)?;
    clock::pass(Duration::from_millis(500));
    let before = totals(&scene)?;
    let dropped = scene.dropped()?;

    leave(&mut scene)?;
    clock::pass(Duration::from_secs(1));
    scene.daemon.run()?;
    let after = totals(&scene)?;
    for (b, a) in before.iter().zip(&after) {
        ensure!(a.iter().zip(b).all(|(a, b)| a > b), "counters fell or stood still: {before:?}, then {after:?}");
    }
    ensure!(scene.number(3, "weight")? == 2, "the weight set by command is forgotten");
    let flows = scene.daemon.json(&["flows"])?;
    let known: Vec<&str> = flows.as_array().into_iter().flatten().filter_map(|f| f["client"].as_str()).collect();
    for (from, _) in tcp.placed().iter().chain(udp.placed()) {
        ensure!(known.contains(&from.to_string().as_str()), "the flow of {from} is not known any more");
    }
    scene.daemon.all_healthy()?;
    clock::pass(Duration::from_secs(1));
    ensure!(scene.dropped()? == dropped, "packets were dropped: {dropped:?}, then {:?}", scene.dropped()?);

    none_failed(&steady.stop()?, RATE, None)?;
    untouched(&tcp.stop()?, None)?;
    untouched(&udp.stop()?, None)
}

fn killed(scene: &mut Scene) -> Result<()> {
    scene.daemon.kill()
}

#[test]
fn xdp_forwards_on_when_lb_is_killed_and_the_next_adopts() -> Result<()> {
    survives(Engine::Xdp, killed)
}

#[test]
fn xdp_generic_forwards_on_when_lb_is_killed_and_the_next_adopts() -> Result<()> {
    survives(Engine::XdpGeneric, killed)
}

#[test]
fn xdp_forwards_on_when_lb_is_stopped_and_says_so() -> Result<()> {
    survives(Engine::Xdp, |scene| {
        let status = scene.daemon.terminate()?;
        ensure!(status.code() == Some(0), "SIGTERM ends it with {status}");
        let log = scene.daemon.log();
        let last = log.lines().last().unwrap_or_default();
        ensure!(last.contains("lb detach"), "the last line does not say how to take it off: {last}");
        Ok(())
    })
}
