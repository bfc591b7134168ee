//! The lab itself, before anything is balanced: its wires carry, its tools count and check, and they can fail.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use lb_tests::lab::addresses::{self, Family};
use lb_tests::lab::{Lab, Topology};
use lb_tests::load::bodies;
use lb_tests::load::echo::ping;
use lb_tests::load::pulse::Pulse;
use lb_tests::load::server::{Ports, Server};
use lb_tests::load::spread::{Flows, Protocol, spread};
use lb_tests::load::steady::Steady;

const PORT: u16 = 7000;

fn ports() -> Ports {
    Ports { lines: vec![PORT], http: vec![8080], udp: vec![PORT] }
}

/// Straight to a backend, without a balancer.
fn straight(topology: Topology) -> Result<()> {
    let lab = Lab::new(topology, 2)?;
    let servers = lab.backends().iter().map(|b| Server::start(b, &ports())).collect::<Result<Vec<_>>>()?;
    for family in Family::BOTH {
        let to = SocketAddr::new(addresses::backend(1, family), PORT);
        for protocol in Protocol::BOTH {
            let outcome = spread(lab.client(), Flows::new(to, protocol, 0, 500))?;
            assert_eq!(outcome.by_backend(), [("b1".to_owned(), 500)].into(), "{:?}", outcome.failures);
            let pulse = Pulse::start(lab.client(), to, protocol, 5_000, 3, Duration::from_millis(20))?;
            assert_eq!(pulse.on("b1"), 3);
            for beat in pulse.stop()? {
                assert!(beat.failure.is_none() && beat.moved.is_none() && beat.answers >= 2, "{beat:?}");
            }
        }
        ping(lab.client(), to.ip(), 1000)?;
        bodies::tcp(lab.client(), to, 10_000, &bodies::TCP_SIZES[..8])?;
        bodies::udp(lab.client(), to, 10_100, &bodies::UDP_SIZES)?;
        let steady = Steady::start(lab.client(), to, 2000, 20_000)?;
        lb_tests::clock::pass(Duration::from_millis(500));
        let attempts = steady.stop()?;
        assert!(attempts.len() >= 800, "only {} connections in half a second", attempts.len());
        assert!(attempts.iter().all(|a| a.outcome.as_deref() == Ok("b1")));
    }
    drop(servers);
    Ok(())
}

#[test]
fn one_armed_lab_carries_both_families_and_protocols() -> Result<()> {
    straight(Topology::OneArmed)
}

#[test]
fn two_armed_lab_carries_both_families_and_protocols() -> Result<()> {
    straight(Topology::TwoArmed)
}

#[test]
fn tools_report_what_is_not_there() -> Result<()> {
    let lab = Lab::new(Topology::OneArmed, 1)?;
    let to = SocketAddr::new(addresses::backend(0, Family::V4), PORT);
    let nobody = spread(lab.client(), Flows::new(to, Protocol::Tcp, 0, 5))?;
    assert_eq!((nobody.placed.len(), nobody.failed), (0, 5));
    assert!(Pulse::start(lab.client(), to, Protocol::Tcp, 0, 1, Duration::from_millis(20)).is_err());

    let server = Server::start(&lab.backends()[0], &ports())?;
    let pulse = Pulse::start(lab.client(), to, Protocol::Tcp, 10, 2, Duration::from_millis(20))?;
    server.stop();
    lb_tests::clock::pass(Duration::from_millis(200));
    assert!(pulse.stop()?.iter().all(|b| b.failure.is_some()), "a killed backend goes unnoticed");
    Ok(())
}

#[test]
fn nothing_is_left_when_a_lab_is_dropped() -> Result<()> {
    let lab = Lab::new(Topology::OneArmed, 1)?;
    let label = lab.label().to_owned();
    assert!(lb_tests::lab::list_labels()?.contains(&label));
    let panicked = std::thread::spawn(move || {
        let _lab = lab;
        panic!("on purpose");
    })
    .join();
    assert!(panicked.is_err());
    assert!(!lb_tests::lab::list_labels()?.contains(&label));
    Ok(())
}
