//! Nanoseconds per packet by `BPF_PROG_TEST_RUN`, beside floors measured in the same run.
//!
//! A wrapper program gives every run a fresh packet of a rotating flow and tail-calls what is under test. Every sample
//! stands between two runs of the bare `XDP_TX` floor; it is thrown away if one of them strays more than a tenth from
//! the best floor, for then something else had the machine.

mod establish;
mod rig;
mod template;
mod world;

use std::path::Path;

use anyhow::{Result, bail};
use lb_common::net::proto;
use lb_common::service::forward;
use serde_json::{Value, json};

use crate::spread::Spread;
use crate::{pin, report};
use rig::{Rig, Target};
pub(crate) use template::for_loop as loop_template;
use template::{Family, Stage};

/// Flows under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flows {
    One,
    Many,
    /// Every packet opens one.
    New,
}

impl Flows {
    const ALL: [Self; 3] = [Self::One, Self::Many, Self::New];

    const fn count(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Many => 65_536,
            Self::New => 0,
        }
    }
    const fn name(self) -> &'static str {
        match self {
            Self::One => "1 flow",
            Self::Many => "64 K flows",
            Self::New => "all new",
        }
    }
    const fn repeat(self) -> u32 {
        match self {
            Self::One => 1_000_000,
            Self::Many => 524_288,
            Self::New => 262_144,
        }
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) forward: u8,
    pub(crate) protocol: u8,
    pub(crate) family: Family,
    pub(crate) flows: Flows,
}

impl Case {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for forward in [forward::NAT, forward::DSR] {
            for protocol in [proto::TCP, proto::UDP] {
                for family in [Family::V4, Family::V6] {
                    all.extend(Flows::ALL.map(|flows| Self { forward, protocol, family, flows }));
                }
            }
        }
        all
    }
    fn name(&self) -> String {
        let forward = if self.forward == forward::NAT { "nat" } else { "dsr" };
        let protocol = if self.protocol == proto::TCP { "TCP" } else { "UDP" };
        format!("{forward} {protocol}{} {}", self.family.digit(), self.flows.name())
    }
    const fn stage(&self) -> Stage {
        if matches!(self.flows, Flows::New) { Stage::Opening } else { Stage::Established }
    }
}

/// How far a neighbouring floor may stray from the best one.
const STRAY: f64 = 0.10;
/// Rounds are added, up to this many times what was asked, until enough samples are kept.
const PATIENCE: u32 = 2;

#[derive(Debug)]
struct Line {
    name: String,
    case: Option<Case>,
    target: Target,
    /// Samples with the floors before and after.
    raw: Vec<(f64, f64, f64)>,
}

pub(crate) fn run(rounds: u32, out: &Path) -> Result<()> {
    if rounds < 5 {
        bail!("fewer than 5 rounds say nothing");
    }
    if let Some(last) = pin::cpus()?.last() {
        pin::to(*last)?;
    }
    let mut rig = Rig::new()?;
    let mut lines = lines();
    println!("{} backends, Maglev table of {}, {} rounds", world::BACKENDS, world::TABLE, rounds);
    for line in &lines {
        if let Some(case) = line.case {
            establish::flows(&mut rig, &case)?;
        }
    }
    for round in 1..=rounds * PATIENCE {
        eprint!("\rround {round} of {rounds} ");
        for line in &mut lines {
            measure(&mut rig, line)?;
        }
        let best = best_floor(&lines);
        if round >= rounds && lines.iter().all(|l| kept(l, best).len() >= 5) {
            break;
        }
    }
    eprintln!("\r                    ");
    show(&lines, out)
}

fn lines() -> Vec<Line> {
    let floor = |name: &str, target| Line { name: name.to_owned(), case: None, target, raw: Vec::new() };
    let mut lines = vec![floor("floor_parse", Target::FloorParse), floor("floor_nat", Target::FloorNat)];
    let cases = Case::all().into_iter();
    lines.extend(cases.map(|c| Line { name: c.name(), case: Some(c), target: Target::Balancer, raw: Vec::new() }));
    lines
}

fn measure(rig: &mut Rig, line: &mut Line) -> Result<()> {
    // Floors see the same packets as the case they stand beside.
    let case = line.case.unwrap_or(Case {
        forward: forward::NAT,
        protocol: proto::TCP,
        family: Family::V4,
        flows: Flows::One,
    });
    let repeat = case.flows.repeat();
    rig.template(&case, case.stage())?;
    let before = rig.nanos(Target::FloorTx, repeat)?;
    if case.flows == Flows::Many {
        // One pass over the flows before: what is done once a second for each of them is not the cost of a packet.
        rig.nanos(line.target, Flows::Many.count())?;
    }
    let counted = rig.counts(&case)?;
    let ns = rig.nanos(line.target, repeat)?;
    if line.target == Target::Balancer {
        rig.expect_forwarded(&case, counted, repeat)?;
    }
    let after = rig.nanos(Target::FloorTx, repeat)?;
    line.raw.push((ns, before, after));
    Ok(())
}

/// The best floor of each family's packets would differ by a few bytes copied; one best for all is near enough.
fn best_floor(lines: &[Line]) -> f64 {
    lines.iter().flat_map(|l| &l.raw).flat_map(|(_, a, b)| [*a, *b]).fold(f64::INFINITY, f64::min)
}

/// Nanoseconds and the floor beside them, of the samples that stand between two good floors.
fn kept(line: &Line, best: f64) -> Vec<(f64, f64)> {
    let good = |floor: f64| floor <= best * (1.0 + STRAY);
    let calm = line.raw.iter().filter(|(_, a, b)| good(*a) && good(*b));
    calm.map(|(ns, a, b)| (*ns, f64::midpoint(*a, *b))).collect()
}

fn show(lines: &[Line], out: &Path) -> Result<()> {
    let best = best_floor(lines);
    let mut rows = Vec::new();
    let mut json_rows = Vec::new();
    for line in lines {
        let calm = kept(line, best);
        let all: Vec<(f64, f64)> = line.raw.iter().map(|(ns, a, b)| (*ns, f64::midpoint(*a, *b))).collect();
        // A machine that was never calm still gives a figure, and it is marked.
        let (used, mark) = if calm.len() >= 3 { (calm, "") } else { (all, " (noisy)") };
        let net: Vec<f64> = used.iter().map(|(ns, floor)| ns - floor).collect();
        let times: Vec<f64> = used.iter().map(|(ns, floor)| ns / floor).collect();
        let (Some(net), Some(times)) = (Spread::of(&net), Spread::of(&times)) else { continue };
        rows.push(vec![
            format!("{}{mark}", line.name),
            format!("{:.0}", net.median),
            format!("{:.0}–{:.0}", net.min, net.max),
            format!("{:.1}", times.median),
            format!("{} of {}", net.samples, line.raw.len()),
        ]);
        json_rows.push(json!({
            "name": line.name, "net_ns": net.json(), "times_floor": times.json(), "noisy": !mark.is_empty(),
            "rounds": line.raw.len(),
        }));
    }
    println!("floor_tx (wrapper, then XDP_TX): {best:.1} ns at best\n");
    report::table(&["", "net ns", "min–max", "× floor", "samples kept"], &rows);
    println!("\nnet: above floor_tx beside it; × floor: the whole, floor included, as a multiple of it");
    let goals = goals(&json_rows);
    for (what, value, goal, met) in &goals {
        println!("goal: {what}: {value:.1} × the floor, at most {goal}: {}", if *met { "met" } else { "MISSED" });
    }
    let goals: Vec<Value> = goals
        .iter()
        .map(|(what, value, goal, met)| json!({ "case": what, "times_floor": value, "at_most": goal, "met": met }))
        .collect();
    let report = json!({
        "unit": "ns per packet", "floor_tx_ns": best, "backends": world::BACKENDS, "table": world::TABLE,
        "machine": report::machine(), "cases": json_rows, "goals": goals,
    });
    report::write(out, "packet.json", &report)
}

/// What an established TCP flow over IPv4 may cost, as multiples of the floor.
fn goals(rows: &[Value]) -> Vec<(&'static str, f64, f64, bool)> {
    const GOALS: [(&str, f64); 4] = [
        ("nat TCP4 1 flow", 3.3),
        ("dsr TCP4 1 flow", 3.3),
        ("nat TCP4 64 K flows", 8.0),
        ("dsr TCP4 64 K flows", 8.0),
    ];
    let value = |name: &str| rows.iter().find(|r| r["name"] == name).and_then(|r| r["times_floor"]["median"].as_f64());
    GOALS.iter().filter_map(|(name, goal)| value(name).map(|v| (*name, v, *goal, v <= *goal))).collect()
}
