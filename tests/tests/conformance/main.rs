//! Conformance: the same cases on every engine, from outside. Every flow is answered, by its backend, from the service's
//! address; shares follow the weights; bodies come back whole; what an engine cannot do it refuses by name.

mod setup;
mod shares;

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use lb_tests::daemon::{Daemon, Engine};
use lb_tests::lab::addresses::Family;
use lb_tests::lab::{Lab, Topology};
use lb_tests::load::bodies;
use lb_tests::load::spread::{Flows, Protocol, spread};

use setup::{ALGORITHMS, Case, Forward, Setup};

/// Every test has a lab and a daemon of its own, with a service per algorithm and way of forwarding.
macro_rules! cases {
    ($($name:ident: $engine:ident, $protocol:ident, $family:ident, $topology:ident;)+) => {
        $(#[test]
        fn $name() -> Result<()> {
            conforms(Setup {
                engine: Engine::$engine,
                protocol: Protocol::$protocol,
                family: Family::$family,
                topology: Topology::$topology,
            })
        })+
    };
}

cases! {
    xdp_tcp_v4_one_armed: Xdp, Tcp, V4, OneArmed;
    xdp_tcp_v6_two_armed: Xdp, Tcp, V6, TwoArmed;
    xdp_udp_v4_two_armed: Xdp, Udp, V4, TwoArmed;
    xdp_udp_v6_one_armed: Xdp, Udp, V6, OneArmed;
    xdp_generic_tcp_v4_two_armed: XdpGeneric, Tcp, V4, TwoArmed;
    xdp_generic_tcp_v6_one_armed: XdpGeneric, Tcp, V6, OneArmed;
    xdp_generic_udp_v4_one_armed: XdpGeneric, Udp, V4, OneArmed;
    xdp_generic_udp_v6_two_armed: XdpGeneric, Udp, V6, TwoArmed;
    userspace_tcp_v4_one_armed: Userspace, Tcp, V4, OneArmed;
    userspace_tcp_v6_two_armed: Userspace, Tcp, V6, TwoArmed;
    userspace_udp_v4_two_armed: Userspace, Udp, V4, TwoArmed;
    userspace_udp_v6_one_armed: Userspace, Udp, V6, OneArmed;
}

fn conforms(setup: Setup) -> Result<()> {
    let lab = Lab::new(setup.topology, setup::WEIGHTS.len())?;
    let servers = setup.servers(&lab)?;
    let daemon = Daemon::start(&lab, setup.engine, &setup.config())?;
    let status = daemon.json(&["status"])?;
    ensure!(status["data_plane"] == setup.engine.as_str(), "asked for {:?}, got {status}", setup.engine);
    daemon.all_healthy()?;

    let mut sources = 0;
    let mut numbers = |count: u32| {
        sources += count;
        sources - count
    };
    let mut wrong = Vec::new();
    for case in setup.cases() {
        let to = setup.service(case);
        let sizes = if case.algorithm == ALGORITHMS[0] { 16 } else { 0 };
        let count = shares::flows(case.algorithm);
        let flows = Flows::new(to, setup.protocol, numbers(count), count).held(shares::held(case.algorithm));
        let outcome = spread(lab.client(), flows)?;
        let opened = u64::from(count) + if sizes > 0 { bodies_whole(&lab, setup, to, numbers(sizes))? } else { 0 };
        let counted = flows_total(&daemon, &setup.name(case))?;
        if let Err(e) = shares::check(setup, case, &outcome, count).and_then(|()| {
            ensure!(counted == opened, "{opened} flows were opened, {counted} counted");
            Ok(())
        }) {
            wrong.push(format!("{}: {e:#}", setup.name(case)));
        }
    }
    drop(servers);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// How many flows it took.
fn bodies_whole(lab: &Lab, setup: Setup, to: SocketAddr, first: u32) -> Result<u64> {
    match setup.protocol {
        Protocol::Tcp => {
            bodies::tcp(lab.client(), to, first, &bodies::TCP_SIZES)?;
            Ok(bodies::TCP_SIZES.len() as u64)
        }
        Protocol::Udp => bodies::udp(lab.client(), to, first, &bodies::UDP_SIZES).map(|()| 1),
    }
}

fn flows_total(daemon: &Daemon, service: &str) -> Result<u64> {
    let all = daemon.json(&["service", "list"])?;
    let found = all.as_array().context("no array")?.iter().find(|s| s["name"] == service);
    found.with_context(|| format!("no service {service}"))?["flows_total"].as_u64().context("no count")
}

#[test]
fn userspace_refuses_direct_return_by_name() -> Result<()> {
    let lab = Lab::new(Topology::OneArmed, setup::WEIGHTS.len())?;
    let setup =
        Setup { engine: Engine::Userspace, protocol: Protocol::Tcp, family: Family::V4, topology: Topology::OneArmed };
    let case = Case { forward: Forward::Dsr, algorithm: "maglev" };
    let mut daemon = Daemon::prepare(&lab, setup.engine, "")?;
    daemon.write(&setup.config_of(&[case]))?;
    ensure!(daemon.run().is_err(), "lb run started with a service that its engine cannot carry");
    let (log, status) = (daemon.log(), daemon.wait()?);
    ensure!(status.code() == Some(2), "{status}: {log}");
    ensure!(log.contains("lb.toml:") && log.contains("dsr"), "names neither place nor reason: {log}");
    Ok(())
}
