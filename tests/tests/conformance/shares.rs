//! What each backend's share must be, and for the hashes who must have answered each single flow.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use lb_common::net::{Addr, Be16, proto};
use lb_common::{hash, maglev};
use lb_tests::load::spread::{Outcome, Protocol};

use crate::setup::{Case, Setup, WEIGHTS};

const TABLE: u32 = 65_537;
/// A share's distance from its due, of the due.
const TOLERANCE: f64 = 0.05;

/// Flows to open. By chance the smallest share of 30,000 flows strays 5 % once in some 100,000 runs; of 20,000 too often.
pub(crate) fn flows(algorithm: &str) -> u32 {
    if algorithm == "random" { 30_000 } else { 20_000 }
}

/// Flows held open meanwhile: enough that one flow more or less is no share.
pub(crate) fn held(algorithm: &str) -> usize {
    if algorithm == "least-connections" { 2000 } else { 0 }
}

pub(crate) fn check(setup: Setup, case: Case, outcome: &Outcome, count: u32) -> Result<()> {
    ensure!(outcome.failed == 0, "{} of {count} flows failed: {:?}", outcome.failed, outcome.failures);
    ensure!(outcome.placed.len() == count as usize, "{} of {count} flows were answered", outcome.placed.len());
    let by_backend = outcome.by_backend();
    for (index, due) in dues(setup, case).into_iter().enumerate() {
        let got = by_backend.get(&format!("b{index}")).copied().unwrap_or(0) as f64;
        let due = due * f64::from(count);
        ensure!((got - due).abs() <= due * TOLERANCE, "b{index} got {got} flows, {due:.0} were due: {by_backend:?}");
    }
    if matches!(case.algorithm, "maglev" | "source-hash") {
        let table = table(setup, case);
        for (from, name) in &outcome.placed {
            let slot = hash::slot(hash_of(setup, case, *from), TABLE);
            let want = format!("b{}", table[slot as usize]);
            ensure!(*name == want, "{from} went to {name}; by the table it is {want}'s");
        }
    }
    Ok(())
}

/// Each backend's share of one: of the weights, of the members, or of the table's slots.
fn dues(setup: Setup, case: Case) -> Vec<f64> {
    let total: f64 = WEIGHTS.iter().map(|w| f64::from(*w)).sum();
    match case.algorithm {
        "round-robin" => WEIGHTS.iter().map(|_| 1.0 / WEIGHTS.len() as f64).collect(),
        "maglev" | "source-hash" => {
            let table = table(setup, case);
            let slots = |i: usize| table.iter().filter(|s| **s as usize == i).count() as f64;
            (0..WEIGHTS.len()).map(|i| slots(i) / table.len() as f64).collect()
        }
        _ => WEIGHTS.iter().map(|w| f64::from(*w) / total).collect(),
    }
}

fn table(setup: Setup, case: Case) -> Vec<u32> {
    let member = |(i, &weight): (usize, &u16)| {
        let address = setup.backend(i, case).to_string();
        maglev::Member { identity: maglev::identity(address.as_bytes()), weight }
    };
    maglev::table(&WEIGHTS.iter().enumerate().map(member).collect::<Vec<_>>(), TABLE)
}

fn hash_of(setup: Setup, case: Case, from: SocketAddr) -> u32 {
    let client = Addr::from(from.ip());
    if case.algorithm == "source-hash" {
        return hash::of_client(&client);
    }
    let to = setup.service(case);
    let protocol = match setup.protocol {
        Protocol::Tcp => proto::TCP,
        Protocol::Udp => proto::UDP,
    };
    let (from_port, to_port) = (Be16::from_host(from.port()), Be16::from_host(to.port()));
    hash::of_flow(&client, from_port, &Addr::from(to.ip()), to_port, protocol)
}
