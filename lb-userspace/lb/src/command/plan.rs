//! `lb plan`: what a reload of a file would change.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use lb_api::ClientError;
use lb_api::wire::{FaultKind, PlanDoc, PlanRequest};

use super::check;
use crate::cli::Global;
use crate::daemon;
use crate::exit::{Failure, Outcome};
use crate::print::table::Table;
use crate::print::{self, units};

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// The file that would be put in force
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(crate) fn plan(args: &Plan, global: &Global) -> Outcome {
    // Its errors are there to be seen without a daemon too.
    lb_config::load(&args.config).map_err(|errors| check::say(&errors, global))?;
    let config = std::fs::read_to_string(&args.config)
        .with_context(|| format!("cannot read {}", args.config.display()))
        .map_err(Failure::Wrong)?;
    // Relative paths in it begin at its directory, and the daemon stands in another.
    let file = std::path::absolute(&args.config).unwrap_or_else(|_| args.config.clone());
    let request = PlanRequest { config, file: file.display().to_string() };
    daemon::converse(|| async {
        let daemon = daemon::connect(global.socket.as_deref()).await?;
        let plan: PlanDoc = match daemon.post("/v1/plan", &request).await {
            // What only the daemon knows: that its data plane cannot do what is asked.
            Err(ClientError::Fault(fault)) if fault.kind == FaultKind::Configuration => {
                return Err(check::say_faults(fault, global));
            }
            other => other?,
        };
        print::either(global.json, &plan, render)
    })
}

fn render(plan: &PlanDoc) -> String {
    let mut out = String::new();
    let pools: Vec<_> = plan.pools.iter().filter(|p| changes(p)).collect();
    if plan.services.is_empty() && plan.routes.is_empty() && pools.is_empty() && plan.notes.is_empty() {
        return "nothing would change\n".to_owned();
    }
    for line in &plan.services {
        out.push_str(&format!("{line}\n"));
    }
    plan.routes.iter().for_each(|line| out.push_str(&format!("route {line}\n")));
    let mut table = Table::new(["POOL", ">SLOTS MOVED", ">LIVE FLOWS MOVED", "CHANGES"]);
    for pool in &pools {
        let share = if pool.slots == 0 { 0.0 } else { pool.slots_moved as f64 * 100.0 / pool.slots as f64 };
        let added = pool.added.iter().map(|a| format!("+{a}"));
        let removed = pool.removed.iter().map(|r| format!("-{r}"));
        table.push([
            pool.pool.clone().into(),
            format!("{} ({share:.2} %)", units::count(pool.slots_moved)).into(),
            units::count(pool.live_flows_moved).into(),
            added.chain(removed).collect::<Vec<_>>().join(" ").into(),
        ]);
    }
    if !pools.is_empty() {
        out.push_str(&table.render());
    }
    plan.warnings.iter().for_each(|w| out.push_str(&format!("{}\n", w.rendered)));
    plan.notes.iter().for_each(|n| out.push_str(&format!("note: {n}\n")));
    out
}

fn changes(pool: &lb_api::wire::PlanPoolDoc) -> bool {
    !pool.added.is_empty() || !pool.removed.is_empty() || pool.slots_moved > 0 || pool.live_flows_moved > 0
}
