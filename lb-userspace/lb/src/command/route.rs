//! `lb route list` and `lb route show`.

use std::fmt::Write as _;

use clap::Subcommand;
use lb_api::client::segment;
use lb_api::wire::route::MatchDoc;
use lb_api::wire::{RouteDetailDoc, RouteDoc};

use crate::cli::Global;
use crate::exit::Outcome;
use crate::print::table::{Cell, Table};
use crate::print::{BAD, BOLD, PLAIN, paint, units};
use crate::{daemon, print};

#[derive(Debug, Subcommand)]
pub(crate) enum Route {
    /// List routes in the file's order, with their hits
    List,
    /// Show one route: every attribute in force
    Show {
        /// The route
        name: String,
    },
}

pub(crate) fn route(args: &Route, global: &Global) -> Outcome {
    daemon::converse(|| async {
        let daemon = daemon::connect(global.socket.as_deref()).await?;
        match args {
            Route::List => {
                let routes: Vec<RouteDoc> = daemon.get("/v1/routes").await?;
                print::either(global.json, &routes, |r| table(r).render())
            }
            Route::Show { name } => {
                let detail: RouteDetailDoc = daemon.get(&format!("/v1/routes/{}", segment(name))).await?;
                print::either(global.json, &detail, render)
            }
        }
    })
}

pub(crate) fn table<'a>(routes: impl IntoIterator<Item = &'a RouteDoc>) -> Table<7> {
    let mut table = Table::new(["NAME", "LISTENER", "MATCH", "TARGET", ">REQUESTS", ">ERRORS", ">P50"]);
    for r in routes {
        let errors = if r.errors == 0 { PLAIN } else { BAD };
        table.push([
            r.name.clone().into(),
            r.listener.join(", ").into(),
            matching(&r.matching).into(),
            target(r).into(),
            units::count(r.requests).into(),
            Cell::styled(units::count(r.errors), errors),
            r.p50_ms.map_or("-".to_owned(), |ms| format!("{ms} ms")).into(),
        ]);
    }
    table
}

/// `api.example.com /api/* GET,POST header x-beta=1`, or `everything`.
fn matching(m: &MatchDoc) -> String {
    let mut words = Vec::new();
    match &m.host {
        Some(serde_json::Value::Array(hosts)) => {
            words.push(hosts.iter().filter_map(|h| h.as_str()).collect::<Vec<_>>().join(","));
        }
        Some(host) => words.extend(host.as_str().map(str::to_owned)),
        None => {}
    }
    words.extend(m.path.clone());
    if !m.methods.is_empty() {
        words.push(m.methods.join(","));
    }
    for (what, values) in [("header", &m.headers), ("query", &m.query), ("cookie", &m.cookies)] {
        words.extend(values.iter().map(|(k, v)| format!("{what} {k}={v}")));
    }
    if !m.source.is_empty() {
        words.push(format!("from {}", m.source.join(",")));
    }
    if words.is_empty() { "everything".to_owned() } else { words.join(" ") }
}

fn target(r: &RouteDoc) -> String {
    if let Some(pool) = &r.pool {
        return format!("pool {pool}");
    }
    if let Some(parts) = &r.split {
        let parts: Vec<String> = parts.iter().map(|p| format!("{} {}", p.pool, p.weight)).collect();
        return format!("split {}", parts.join(", "));
    }
    if let Some(to) = &r.redirect {
        return format!("redirect {} {}", to.status, to.to);
    }
    if let Some(respond) = &r.respond {
        return format!("respond {}", respond.status);
    }
    r.files.as_ref().map(|f| format!("files {}", f.root)).unwrap_or_default()
}

fn render(d: &RouteDetailDoc) -> String {
    let r = &d.route;
    let mut lines = vec![
        ("listener".to_owned(), r.listener.join(", ")),
        ("match".to_owned(), matching(&r.matching)),
        ("target".to_owned(), target(r)),
        ("policies".to_owned(), if r.policies.is_empty() { "none".to_owned() } else { r.policies.join(", ") }),
    ];
    lines.extend(d.settings.iter().map(|(key, value)| (key.clone(), value.to_string())));
    lines.push(("requests".to_owned(), units::count(r.requests)));
    lines.push(("errors".to_owned(), units::count(r.errors)));
    let latency = |ms: Option<f64>| ms.map_or("-".to_owned(), |ms| format!("{ms} ms"));
    lines.push(("latency".to_owned(), format!("p50 {}, p99 {}", latency(r.p50_ms), latency(r.p99_ms))));
    let width = lines.iter().map(|(k, _)| k.len()).max().unwrap_or(0);
    let mut out = format!("{}\n", paint(BOLD, &r.name));
    for (key, value) in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {key:width$}  {value}");
    }
    out
}
