//! The program against the plain-Rust reference: random tables, random packets, random changes of health and weight.
//! Verdict, whole packet and counters are compared after every packet, and the flow tables at the end.
//!
//! `LB_SEED=n` runs the world of one seed alone; `LB_WORLDS=n` runs so many.

use std::collections::BTreeMap;

use lb_common::flow::side;
use lb_common::net::Addr;
use lb_common::reason::Reason;
use lb_tests::packet::compare::{self, Moved};
use lb_tests::packet::program::Program;
use lb_tests::packet::random::{self, Random};
use lb_tests::packet::reference::tcp::State;
use lb_tests::packet::reference::{Reference, Seen};
use lb_tests::packet::shelf;
use lb_tests::packet::text;
use lb_tests::packet::world::World;

const WORLDS: u64 = 60;
const PACKETS: usize = 400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|v| v.parse().unwrap_or_else(|e| panic!("{name}={v}: {e}")))
}

/// How often each reason came up, so that one sees that nothing was left untried.
type Tally = BTreeMap<&'static str, u64>;

#[test]
fn program_and_reference_agree() {
    let seeds: Vec<u64> = match number("LB_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("LB_WORLDS").unwrap_or(WORLDS)).collect(),
    };
    let mut tally = Tally::new();
    let mut failures = Vec::new();
    for seed in &seeds {
        if let Err(e) = run(*seed, &mut tally) {
            failures.push(format!("LB_SEED={seed}: {e}"));
        }
    }
    println!("{} worlds of {PACKETS} packets: {tally:?}", seeds.len());
    let shown = failures.iter().take(5).cloned().collect::<Vec<_>>().join("\n\n");
    assert!(failures.is_empty(), "{} of {} worlds differ\n\n{shown}", failures.len(), seeds.len());
    if seeds.len() as u64 >= WORLDS {
        use Reason::*;
        for reason in [
            NotOurs,
            Forwarded,
            Returned,
            EchoReply,
            Reset,
            IcmpForwarded,
            Denied,
            RateLimited,
            NoBackend,
            NatExhausted,
            Malformed,
            Fragment,
            NoNeighbour,
            NoFlow,
            UnknownQuote,
            Unsupported,
            BackendGone,
        ] {
            assert!(tally.contains_key(reason.name()), "no packet came to {}", reason.name());
        }
    }
}

fn run(seed: u64, tally: &mut Tally) -> Result<(), String> {
    let mut r = Random(seed.wrapping_mul(0x1234_5678_9abc_def1));
    let world = random::world(&mut r);
    let mut program = shelf::borrow(&world);
    let mut reference = Reference::new(&world);
    for i in 0..PACKETS {
        if r.percent(4) {
            random::change(&mut r, &mut reference.world);
            reference.publish();
            publish(&mut program, &reference.world);
        }
        let input = random::packet(&mut r, &reference);
        let reason = step(&program, &mut reference, &input)
            .map_err(|e| format!("packet {i}: {e}\nthe packet: {}", text::render(&input)))?;
        *tally.entry(reason.name()).or_default() += 1;
    }
    same_flows(&program, &reference)
}

fn publish(program: &mut Program, world: &World) {
    (1..=world.backends.len() as u32).for_each(|n| program.publish_backend(world, n));
    (1..=world.pools.len() as u32).for_each(|n| program.publish_pool(world, n));
}

fn step(program: &Program, reference: &mut Reference, input: &[u8]) -> Result<Reason, String> {
    let before = program.counts();
    let ran = program.run(input).map_err(|e| format!("the kernel does not run it: {e}"))?;
    let moved = Moved::between(&before, &program.counts());
    let seen = Seen {
        frame: &ran.frame,
        backend: moved.backends.keys().next().copied(),
        exhausted: moved.verdicts.keys().any(|k| k.1 == Reason::NatExhausted),
    };
    let wanted = reference.packet(input, seen)?;
    compare::counters(&wanted.moved, &moved)?;
    compare::equal("action", &compare::action_name(wanted.action), &compare::action_name(ran.action))?;
    compare::frames(&wanted.frame, &ran.frame)?;
    let (_, reason) = moved.verdicts.keys().next().copied().ok_or("no verdict was counted")?;
    Ok(reason)
}

/// Both know the same flows, with the same backend, in the same state, and the same ways back.
fn same_flows(program: &Program, reference: &Reference) -> Result<(), String> {
    let number = |s: State| s as u8 + 1;
    let entries = program.flows();
    let line = |from: Addr, from_port: u16, to: Addr, to_port: u16, protocol: u32, rest: String| {
        format!(
            "{}:{from_port} > {}:{to_port} {protocol} {rest}",
            std::net::IpAddr::from(from),
            std::net::IpAddr::from(to)
        )
    };
    let mut got: Vec<String> = entries
        .iter()
        .map(|(_, k, v)| {
            let what = if v.side == side::FORWARD { "forward" } else { "reply" };
            let rest = format!("{what} backend {} service {} state {}", v.backend, v.service, v.state);
            line(k.src, k.src_port.host(), k.dst, k.dst_port.host(), k.protocol, rest)
        })
        .collect();
    let mut wanted = Vec::new();
    for flow in reference.flows.values() {
        let state = number(flow.connection.state);
        let mut push = |t: &lb_tests::packet::reference::parse::Tuple, what: &str| {
            let rest = format!("{what} backend {} service {} state {state}", flow.backend, flow.service);
            wanted.push(line(t.src.into(), t.src_port, t.dst.into(), t.dst_port, t.protocol.into(), rest));
        };
        push(&flow.tuple, "forward");
        if let Some(reply) = &flow.reply {
            push(reply, "reply");
        }
    }
    got.sort();
    wanted.sort();
    let lacks: Vec<&String> = wanted.iter().filter(|w| !got.contains(w)).collect();
    let extra: Vec<&String> = got.iter().filter(|g| !wanted.contains(g)).collect();
    if lacks.is_empty() && extra.is_empty() {
        return Ok(());
    }
    Err(format!("flow tables differ: the program lacks {lacks:#?} and has {extra:#?}"))
}

/// The comparison can fail: a reference that believes in other tables is found out.
#[test]
fn a_reference_with_other_tables_is_found_out() {
    let mut found = 0;
    for seed in 0..10 {
        let mut r = Random(seed);
        let world = random::world(&mut r);
        let program = shelf::borrow(&world);
        let mut misled = world.clone();
        misled.services.iter_mut().for_each(|s| s.forward = 3 - s.forward);
        let mut reference = Reference::new(&misled);
        let differs = (0..100).any(|_| {
            let input = random::packet(&mut r, &reference);
            step(&program, &mut reference, &input).is_err()
        });
        found += u32::from(differs);
    }
    assert_eq!(found, 10, "NAT taken for DSR went unnoticed in some world");
}
