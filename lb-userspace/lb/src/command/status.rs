//! `lb status`: the whole at a glance.

use std::fmt::Write as _;

use lb_api::wire::{ListenerDoc, StatusDoc};

use super::{backend, route, service};
use crate::cli::Global;
use crate::exit::Outcome;
use crate::print::table::Table;
use crate::print::{BAD, BOLD, DIM, GOOD, WARN, paint, units};
use crate::{daemon, print};

pub(crate) fn status(global: &Global) -> Outcome {
    daemon::converse(|| async {
        let daemon = daemon::connect(global.socket.as_deref()).await?;
        let status: StatusDoc = daemon.get("/v1/status").await?;
        print::either(global.json, &status, render)
    })
}

pub(crate) fn render(s: &StatusDoc) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "lb {}, up {}", s.version, units::seconds(s.uptime_seconds));
    let plane = if s.data_plane == "xdp" { GOOD } else { WARN };
    let _ = writeln!(out, "data plane  {}: {}", paint(plane.bold(), &s.data_plane), s.data_plane_reason);
    let _ = writeln!(out, "config      {}", s.config.as_deref().unwrap_or("from flags"));
    let _ = writeln!(
        out,
        "flows       {} of {}; {} reserved",
        units::count(s.flows),
        units::count(s.flow_capacity),
        units::bytes(s.memory_bytes)
    );
    if !s.dropped.is_empty() {
        let _ = writeln!(out, "dropped     {} {}", reasons(&s.dropped), paint(DIM, "(packets of no service)"));
    }
    if let Some(error) = &s.last_reload_error {
        let _ = writeln!(out, "{}: {error}", paint(BAD, "last reload refused"));
    }
    if !s.interfaces.is_empty() {
        let mut table = Table::new(["INTERFACE", "MODE", "DETAIL"]).indented();
        for i in &s.interfaces {
            table.push([i.name.clone().into(), i.mode.clone().into(), i.detail.clone().into()]);
        }
        section(&mut out, "Interfaces", &table.render());
    }
    if !s.refused.is_empty() {
        let _ = writeln!(out, "refused     {} {}", reasons(&s.refused), paint(DIM, "(requests)"));
    }
    if !s.services.is_empty() || s.listeners.is_empty() {
        section(&mut out, "Services", &service::table(&s.services).indented().render());
    }
    if !s.listeners.is_empty() {
        section(&mut out, "Listeners", &listeners(&s.listeners).indented().render());
        section(&mut out, "Routes", &route::table(&s.routes).indented().render());
    }
    section(&mut out, "Backends", &backend::table(s.pools.iter().flat_map(|p| &p.backends)).indented().render());
    list(&mut out, "Changed by command line", &s.overrides);
    list(&mut out, "Notes", &s.notes);
    out
}

fn listeners(all: &[ListenerDoc]) -> Table<7> {
    let mut table = Table::new(["NAME", "LISTEN", "PROTOCOLS", "TLS", ">CONNECTIONS", ">REQUESTS", ">TLS FAILURES"]);
    for l in all {
        table.push([
            l.name.clone().into(),
            l.listen.clone().into(),
            l.protocols.join(", ").into(),
            if l.tls { "yes" } else { "no" }.into(),
            units::count(l.connections).into(),
            units::count(l.requests_total).into(),
            units::count(l.tls_failures).into(),
        ]);
    }
    table
}

fn section(out: &mut String, title: &str, body: &str) {
    let _ = write!(out, "\n{}\n{body}", paint(BOLD, title));
}

fn list(out: &mut String, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        let body: String = lines.iter().map(|l| format!("  {l}\n")).collect();
        section(out, title, &body);
    }
}

/// `denied 3, malformed 1`, or nothing.
pub(crate) fn reasons(dropped: &std::collections::BTreeMap<String, u64>) -> String {
    let words: Vec<_> = dropped.iter().map(|(reason, n)| format!("{reason} {}", units::count(*n))).collect();
    words.join(", ")
}
