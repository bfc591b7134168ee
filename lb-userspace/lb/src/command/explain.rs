//! `lb explain`: where a packet would go, and why.

use std::fmt::Write as _;
use std::net::SocketAddr;

use clap::Args;
use lb_api::client::segment;
use lb_api::wire::ExplainDoc;
use lb_model::Listen;

use super::not_built;
use crate::cli::Global;
use crate::exit::{Failure, Outcome};
use crate::print::{BAD, BOLD, DIM, GOOD, WARN, paint};
use crate::{daemon, print};

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The client, ADDRESS:PORT
    #[arg(long, value_name = "A:P")]
    from: Option<String>,
    /// The destination, ADDRESS:PORT/tcp or /udp
    #[arg(long, value_name = "VIP:P/PROTO", required_unless_present = "request", requires = "from")]
    to: Option<String>,
    #[arg(long, hide = true, conflicts_with = "to")]
    request: Option<String>,
    #[arg(long, hide = true)]
    header: Vec<String>,
}

pub(crate) fn explain(args: &Explain, global: &Global) -> Outcome {
    if args.request.is_some() || !args.header.is_empty() {
        return not_built("explain --request", "layer 7");
    }
    let (Some(from), Some(to)) = (&args.from, &args.to) else {
        return Err(Failure::wrong("--from and --to are needed"));
    };
    from.parse::<SocketAddr>()
        .map_err(|_| Failure::wrong(format!("--from '{from}' is not ADDRESS:PORT, with IPv6 in brackets")))?;
    let listen: Listen = to.parse().map_err(|e| Failure::wrong(format!("--to: {e}")))?;
    if !listen.ports.is_single() {
        return Err(Failure::wrong("--to is one packet's destination: write one port"));
    }
    daemon::converse(|| async {
        let daemon = daemon::connect(global.socket.as_deref()).await?;
        let path = format!("/v1/explain?from={}&to={}", segment(from), segment(to));
        let explanation: ExplainDoc = daemon.get(&path).await?;
        print::either(global.json, &explanation, render)
    })
}

fn render(e: &ExplainDoc) -> String {
    let style = match e.verdict.as_str() {
        "forward" => GOOD,
        "drop" => BAD,
        _ => WARN,
    };
    let mut out = paint(style.bold(), &e.verdict);
    // Writing to a String cannot fail.
    if let Some(backend) = &e.backend {
        let _ = write!(out, " to {}", paint(BOLD, backend));
    }
    let _ = write!(out, " ({})", e.reason);
    for (what, value) in [("service", &e.service), ("pool", &e.pool), ("next hop", &e.next_hop)] {
        if let Some(value) = value {
            let _ = write!(out, ", {what} {value}");
        }
    }
    if let Some(slot) = e.slot {
        let _ = write!(out, ", slot {slot}");
    }
    out.push('\n');
    let stage = e.steps.iter().map(|s| s.stage.chars().count()).max().unwrap_or(0);
    let decision = e.steps.iter().map(|s| s.decision.chars().count()).max().unwrap_or(0);
    for (i, s) in e.steps.iter().enumerate() {
        let n = i + 1;
        let _ = writeln!(out, "  {n}. {:<stage$}  {:<decision$}  {}", s.stage, s.decision, paint(DIM, &s.why));
    }
    out
}
