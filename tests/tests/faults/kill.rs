//! A backend dies under many new connections a second.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::clock;
use lb_tests::daemon::Engine;
use lb_tests::load::spread::Protocol;

use crate::scene::{Scene, detection, none_failed, untouched};

/// How it dies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Death {
    /// The process is killed: the host refuses.
    Process,
    /// The host loses power: silence.
    Host,
}

/// New connections a second: the product's promise for the kernel; what a machine of two busy cores surely does in a process.
const fn rate(engine: Engine) -> u32 {
    match engine {
        Engine::Userspace => 500,
        Engine::Xdp | Engine::XdpGeneric => 2000,
    }
}

fn killed(engine: Engine, death: Death) -> Result<()> {
    let mut scene = Scene::new(engine)?;
    let (tcp, udp) = (scene.pulse(Protocol::Tcp)?, scene.pulse(Protocol::Udp)?);
    let steady = scene.steady(rate(engine))?;
    clock::pass(Duration::from_secs(1));

    let died = clock::now();
    match death {
        Death::Process => scene.servers[0] = None,
        Death::Host => scene.lab.backends()[0].cut()?,
    }
    let noticed = died + detection();
    clock::pass(detection() + Duration::from_secs(2));
    let attempts = steady.stop()?;

    let lost = none_failed(&attempts, rate(engine), Some((died, noticed)))?;
    let late: Vec<_> = attempts.iter().filter(|a| a.began > noticed && a.outcome.as_deref() == Ok("b0")).collect();
    ensure!(late.is_empty(), "{} flows went to the dead backend, the first {:?}", late.len(), late[0]);
    // In the kernel a new flow costs microseconds; a process may be slow at this rate on a busy machine.
    let slow = attempts
        .iter()
        .filter(|_| engine == Engine::Xdp)
        .filter(|a| a.began > noticed && a.took > Duration::from_millis(900))
        .count();
    ensure!(slow == 0, "{slow} flows opened after the detection window had to wait for a retransmission");
    println!("{} connections, {lost} of the detection window lost", attempts.len());

    ensure!(scene.text(0, "health")? == "unhealthy", "the dead backend is not shown as such");
    ensure!(!scene.text(0, "reason")?.is_empty(), "no reason is given");
    untouched(&tcp.stop()?, Some("b0"))?;
    untouched(&udp.stop()?, Some("b0"))?;
    let fresh = scene.fresh(Protocol::Udp, 50_000, 500)?;
    ensure!(fresh.iter().all(|(_, b)| b != "b0"), "new UDP flows go to the dead backend");
    Ok(())
}

#[test]
fn xdp_killed_process_is_avoided_in_time_and_others_are_untouched() -> Result<()> {
    killed(Engine::Xdp, Death::Process)
}

#[test]
fn xdp_dead_host_is_avoided_in_time_and_others_are_untouched() -> Result<()> {
    killed(Engine::Xdp, Death::Host)
}

#[test]
fn userspace_killed_process_is_avoided_in_time_and_others_are_untouched() -> Result<()> {
    killed(Engine::Userspace, Death::Process)
}
