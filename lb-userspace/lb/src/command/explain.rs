//! `lb explain`: where a packet or a request would go, and why.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use clap::Args;
use lb_api::client::segment;
use lb_api::wire::{ExplainDoc, ExplainRequestDoc, HttpExplainDoc, StepDoc};
use lb_model::Listen;

use crate::cli::Global;
use crate::exit::{Failure, Outcome};
use crate::print::{BAD, BOLD, DIM, GOOD, WARN, paint};
use crate::{daemon, print};

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The client: ADDRESS:PORT of a packet, ADDRESS of a request [default for a request: loopback]
    #[arg(long, value_name = "A:P")]
    from: Option<String>,
    /// The destination, ADDRESS:PORT/tcp or /udp
    #[arg(long, value_name = "VIP:P/PROTO", required_unless_present = "request", requires = "from")]
    to: Option<String>,
    /// A request instead: "GET https://api.example.com/orders"
    #[arg(long, value_name = "METHOD URL", conflicts_with = "to")]
    request: Option<String>,
    /// A field of the request, "Name: value" (repeatable)
    #[arg(long, value_name = "K: V", requires = "request")]
    header: Vec<String>,
    /// The request's listener, where the URL's scheme and port do not tell
    #[arg(long, value_name = "NAME", requires = "request")]
    listener: Option<String>,
}

pub(crate) fn explain(args: &Explain, global: &Global) -> Outcome {
    if let Some(request) = &args.request {
        return explain_request(request, args, global);
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
    steps(&mut out, &e.steps);
    out
}

fn explain_request(request: &str, args: &Explain, global: &Global) -> Outcome {
    let (method, url) = request.split_once(' ').unwrap_or(("GET", request));
    let header = |h: &String| {
        let (name, value) =
            h.split_once(':').ok_or_else(|| Failure::wrong(format!("--header '{h}' is not 'Name: value'")))?;
        Ok::<_, Failure>((name.trim().to_owned(), value.trim().to_owned()))
    };
    // A packet's notation is understood too: the port says nothing here.
    let address = |from: &String| match from.parse::<SocketAddr>() {
        Ok(both) => Ok::<_, Failure>(both.ip().to_string()),
        Err(_) => {
            let ip =
                from.parse::<IpAddr>().map_err(|_| Failure::wrong(format!("--from '{from}' is not an address")))?;
            Ok(ip.to_string())
        }
    };
    let asked = ExplainRequestDoc {
        method: method.to_owned(),
        url: url.trim().to_owned(),
        headers: args.header.iter().map(header).collect::<Result<_, _>>()?,
        from: args.from.as_ref().map(address).transpose()?,
        listener: args.listener.clone(),
    };
    daemon::converse(|| async {
        let daemon = daemon::connect(global.socket.as_deref()).await?;
        let explanation: HttpExplainDoc = daemon.post("/v1/explain", &asked).await?;
        print::either(global.json, &explanation, render_request)
    })
}

fn render_request(e: &HttpExplainDoc) -> String {
    let style = if e.verdict == "forward" { GOOD } else { WARN };
    let mut out = paint(style.bold(), &e.verdict);
    if let Some(status) = e.status {
        let _ = write!(out, " {status}");
    }
    if let Some(backend) = &e.backend {
        let _ = write!(out, " to {}", paint(BOLD, backend));
    }
    let _ = write!(out, " ({})", e.reason);
    for (what, value) in [("listener", &e.listener), ("route", &e.route), ("pool", &e.pool)] {
        if let Some(value) = value {
            let _ = write!(out, ", {what} {value}");
        }
    }
    out.push('\n');
    steps(&mut out, &e.steps);
    if !e.candidates.is_empty() {
        out.push_str("one of\n");
        for c in &e.candidates {
            let _ = writeln!(out, "  {}  pool {}, weight {}", c.backend, c.pool, c.weight);
        }
    }
    out
}

fn steps(out: &mut String, all: &[StepDoc]) {
    let stage = all.iter().map(|s| s.stage.chars().count()).max().unwrap_or(0);
    let decision = all.iter().map(|s| s.decision.chars().count()).max().unwrap_or(0);
    for (i, s) in all.iter().enumerate() {
        let n = i + 1;
        let _ = writeln!(out, "  {n}. {:<stage$}  {:<decision$}  {}", s.stage, s.decision, paint(DIM, &s.why));
    }
}
