//! A backend's network card is replaced: its hardware address changes under its flows.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::clock;
use lb_tests::daemon::Engine;
use lb_tests::load::spread::{Flows, Protocol, spread};

use crate::scene::{BACKENDS, Scene, service, untouched};

/// The new owner of the address announces itself, as hosts do; flows go on to the new hardware address.
#[test]
fn xdp_follows_a_backends_new_hardware_address() -> Result<()> {
    let scene = Scene::new(Engine::Xdp)?;
    let tcp = scene.pulse(Protocol::Tcp)?;
    let backend = &scene.lab.backends()[0];
    backend.run("sh", &["-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_notify"])?;
    backend.run("ip", &["link", "set", "dev", "eth0", "address", "02:00:00:00:be:ef"])?;
    let mut first = 10_000;
    clock::until("new flows reach the new hardware address", Duration::from_secs(5), || {
        let count = 40 * BACKENDS as u32;
        let flows = Flows::new(service(), Protocol::Tcp, first, count);
        first += count;
        let outcome = spread(scene.lab.client(), flows)?;
        ensure!(outcome.failed == 0, "{:?}", outcome.failures);
        Ok(outcome.by_backend().contains_key("b0").then_some(()))
    })?;
    clock::pass(Duration::from_secs(1));
    // TCP sends again what was lost at the moment of the change.
    untouched(&tcp.stop()?, None)
}
