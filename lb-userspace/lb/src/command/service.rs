//! `lb service list` and `lb service show`.

use std::fmt::Write as _;

use clap::Subcommand;
use lb_api::client::segment;
use lb_api::wire::{ServiceDetailDoc, ServiceDoc};

use super::{backend, status};
use crate::cli::Global;
use crate::exit::Outcome;
use crate::print::table::{Cell, Table};
use crate::print::{BAD, BOLD, PLAIN, paint, units};
use crate::{daemon, print};

#[derive(Debug, Subcommand)]
pub(crate) enum Service {
    /// List services with their counters
    List,
    /// Show one service: every attribute in force, and its backends
    Show {
        /// The service
        name: String,
    },
}

pub(crate) fn service(args: &Service, global: &Global) -> Outcome {
    daemon::converse(|| async {
        let daemon = daemon::connect(global.socket.as_deref()).await?;
        match args {
            Service::List => {
                let services: Vec<ServiceDoc> = daemon.get("/v1/services").await?;
                print::either(global.json, &services, |s| table(s).render())
            }
            Service::Show { name } => {
                let detail: ServiceDetailDoc = daemon.get(&format!("/v1/services/{}", segment(name))).await?;
                print::either(global.json, &detail, render)
            }
        }
    })
}

pub(crate) fn table<'a>(services: impl IntoIterator<Item = &'a ServiceDoc>) -> Table<10> {
    let mut table = Table::new([
        "NAME",
        "LISTEN",
        "POOL",
        "FORWARD",
        "ALGORITHM",
        ">ACTIVE",
        ">FLOWS",
        ">PACKETS",
        ">BYTES",
        "DROPPED",
    ]);
    for s in services {
        let dropped = status::reasons(&s.dropped);
        table.push([
            s.name.clone().into(),
            s.listen.clone().into(),
            s.pool.clone().into(),
            s.forward.clone().into(),
            s.algorithm.clone().into(),
            units::count(s.active_flows).into(),
            units::count(s.flows_total).into(),
            units::count(s.packets).into(),
            units::bytes(s.bytes).into(),
            if dropped.is_empty() { Cell::styled("-", PLAIN) } else { Cell::styled(dropped, BAD) },
        ]);
    }
    table
}

fn render(d: &ServiceDetailDoc) -> String {
    let s = &d.service;
    let anybody = |list: &[String], empty: &str| if list.is_empty() { empty.to_owned() } else { list.join(", ") };
    let affinity = match d.affinity_timeout_seconds {
        Some(n) => format!("{} for {}", d.affinity, units::seconds(n)),
        None => d.affinity.clone(),
    };
    let rate = d.rate_limit.as_ref().map_or("none".to_owned(), |r| {
        format!("{:.1} new flows/s per client, burst {}", 1e6 / (r.interval_us.max(1)) as f64, r.burst)
    });
    let mut lines = vec![
        ("listen", s.listen.clone()),
        ("pool", format!("{} ({})", s.pool, s.algorithm)),
        ("forward", s.forward.clone()),
        ("affinity", affinity),
        ("mss clamp", d.mss_clamp.clone()),
        ("idle timeout", units::seconds(d.idle_timeout_seconds)),
        ("drain timeout", units::seconds(d.drain_timeout_seconds)),
        ("allow", anybody(&d.allow, "everybody")),
        ("deny", anybody(&d.deny, "nobody")),
        ("rate limit", rate),
        ("flows", format!("{} active, {} in all", units::count(s.active_flows), units::count(s.flows_total))),
        ("traffic", format!("{} packets, {} to backends", units::count(s.packets), units::bytes(s.bytes))),
    ];
    lines.extend(d.send_proxy.as_ref().map(|v| ("PROXY", v.clone())));
    if !s.dropped.is_empty() {
        lines.push(("dropped", status::reasons(&s.dropped)));
    }
    let mut out = format!("{}\n", paint(BOLD, &s.name));
    for (what, text) in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {what:<14}{text}");
    }
    out.push('\n');
    out.push_str(&backend::table(&d.backends).indented().render());
    out
}
