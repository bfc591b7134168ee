//! Everything is taken off on purpose, with the daemon and without.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::clock;
use lb_tests::daemon::Engine;
use lb_tests::load::spread::{Flows, Protocol, spread};

use crate::scene::{Scene, service};

/// The XDP program on the balancer's interface, as the kernel says.
fn program(scene: &Scene) -> Result<bool> {
    Ok(scene.lab.balancer().run("ip", &["-details", "link", "show", "dev", "eth0"])?.contains("prog/xdp"))
}

fn nothing_left(scene: &Scene) -> Result<()> {
    // The kernel takes a link off after its last holder has gone, not while it goes.
    clock::until("the program is off", Duration::from_secs(2), || Ok((!program(scene)?).then_some(())))?;
    ensure!(!scene.daemon.pin_dir().exists(), "{} is still there", scene.daemon.pin_dir().display());
    let after = spread(
        scene.lab.client(),
        Flows::new(service(), Protocol::Udp, 9_000, 1).patience(Duration::from_millis(500)),
    )?;
    ensure!(after.placed.is_empty(), "it still forwards");
    Ok(())
}

#[test]
fn xdp_detach_takes_everything_off_and_ends_the_daemon() -> Result<()> {
    let mut scene = Scene::new(Engine::Xdp)?;
    ensure!(program(&scene)?, "no program is attached");
    scene.fresh(Protocol::Tcp, 0, 50)?;
    scene.daemon.ok(&["detach"])?;
    let status = scene.daemon.wait()?;
    ensure!(status.code() == Some(0), "the daemon ended with {status}");
    nothing_left(&scene)
}

#[test]
fn xdp_detach_works_when_no_daemon_runs() -> Result<()> {
    let mut scene = Scene::new(Engine::Xdp)?;
    scene.daemon.kill()?;
    scene.fresh(Protocol::Tcp, 0, 50)?;
    let pins = scene.daemon.pin_dir().display().to_string();
    scene.daemon.ok(&["detach", "--pin-dir", &pins])?;
    nothing_left(&scene)
}

#[test]
fn xdp_on_exit_detach_takes_everything_off_at_the_end() -> Result<()> {
    let mut scene = Scene::with(Engine::Xdp, "on_exit = \"detach\"")?;
    scene.fresh(Protocol::Tcp, 0, 50)?;
    let status = scene.daemon.terminate()?;
    ensure!(status.code() == Some(0), "SIGTERM ends it with {status}");
    nothing_left(&scene)
}
