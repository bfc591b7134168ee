//! Through real interfaces: packets a second in a closed loop, and connections and bytes a second by sockets; every target
//! in every round, so that all see the same machine.

mod load;
mod near;
mod ring;
mod sockets;
mod target;

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::report;
use crate::spread::Spread;

/// The balancer's CPU, and the one of clients and backends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpus {
    pub(crate) balancer: usize,
    pub(crate) others: usize,
}

/// Samples of one target, one a round.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) rate: Vec<f64>,
    /// CPU seconds a unit of work: of the target's processes, and of the balancer's CPU.
    pub(crate) process: Vec<f64>,
    pub(crate) cpu: Vec<f64>,
    pub(crate) failed: u64,
}

impl Series {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), rate: Vec::new(), process: Vec::new(), cpu: Vec::new(), failed: 0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// The closed loop
    Packets,
    /// New connections by data plane
    Connections,
    /// The userspace engine beside HAProxy and nginx
    Proxies,
}

pub(crate) fn run(rounds: u32, out: &Path, only: Option<Part>) -> Result<()> {
    if rounds < 5 {
        bail!("fewer than 5 rounds say nothing");
    }
    let all = crate::pin::cpus()?;
    let (Some(first), Some(last)) = (all.first(), all.last()) else { bail!("no CPU") };
    let cpus = Cpus { balancer: *first, others: *last };
    if cpus.balancer == cpus.others {
        println!("one CPU only: the balancer shares it with clients and backends, and the figures suffer");
    }
    let mut report = json!({ "machine": report::machine(), "rounds": rounds });
    let wanted = |part| only.is_none_or(|o| o == part);
    if wanted(Part::Packets) {
        report["packets"] = ring::run(rounds, cpus)?;
    }
    if wanted(Part::Connections) {
        report["connections"] = sockets::kernel_paths(rounds, cpus)?;
    }
    if wanted(Part::Proxies) {
        let (connections, bytes) = sockets::proxies(rounds, cpus)?;
        report["proxies"] = json!({ "connections": connections, "bytes": bytes });
    }
    report::write(out, "forward.json", &report)
}

/// How a unit of work and its cost are shown.
pub(crate) struct Unit {
    pub(crate) rate: &'static str,
    pub(crate) per: f64,
    pub(crate) cost: &'static str,
    pub(crate) cost_per: f64,
}

/// Prints a table of rates and costs, each also as a multiple of the row called `reference`, and gives it as JSON.
pub(crate) fn show(title: &str, series: &[Series], unit: &Unit, reference: &str) -> Value {
    println!("\n{title}");
    let median = |s: &Series| Spread::of(&s.rate).map(|s| s.median);
    let base = series.iter().find(|s| s.name == reference).and_then(median);
    let mut rows = Vec::new();
    let mut out = Vec::new();
    for s in series {
        let Some(rate) = Spread::of(&s.rate) else {
            rows.push(vec![s.name.clone(), "not measured".into()]);
            continue;
        };
        let cost = |samples: &[f64]| {
            Spread::of(samples).map_or(String::from("–"), |c| format!("{:.1}", c.median * unit.cost_per))
        };
        let mut row = vec![
            s.name.clone(),
            format!("{:.2}", rate.median * unit.per),
            format!("{:.2}–{:.2}", rate.min * unit.per, rate.max * unit.per),
            base.map_or(String::from("–"), |b| format!("{:.2}", rate.median / b)),
        ];
        if !unit.cost.is_empty() {
            row.extend([cost(&s.process), cost(&s.cpu), s.failed.to_string()]);
        }
        rows.push(row);
        out.push(json!({
            "name": s.name, "per_second": rate.json(), "times_reference": base.map(|b| rate.median / b),
            "process_cpu_seconds_per_unit": Spread::of(&s.process).map(|c| c.json()),
            "balancer_cpu_seconds_per_unit": Spread::of(&s.cpu).map(|c| c.json()), "failed": s.failed,
        }));
    }
    let times = format!("× {reference}");
    let process = format!("process {}", unit.cost);
    let cpu = format!("its CPU {}", unit.cost);
    let head = ["", unit.rate, "min–max", &times, &process, &cpu, "failed"];
    report::table(if unit.cost.is_empty() { &head[..4] } else { &head }, &rows);
    json!({ "reference": reference, "targets": out })
}
