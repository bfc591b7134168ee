//! Layer 7 beside nginx, HAProxy and a bare hyper proxy: the proxy has one CPU, clients and backend the other; every target
//! in every round, CPU time per request from `/proc`.

mod bare;
mod configs;
mod idle;
mod load;
mod open_loop;
mod peers;
mod start;

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::report;
use crate::spread::Spread;
use crate::{cpu, pin};

pub(crate) use bare::{Bare, run as bare_proxy};
use load::Row;
use peers::{Peer, Rig};

/// What one row says of one peer.
#[derive(Debug, Default)]
struct Series {
    /// Per second.
    rate: Vec<f64>,
    /// CPU seconds of the proxy's process per request.
    cpu: Vec<f64>,
    failed: u64,
}

pub(crate) fn run(rounds: u32, out: &Path, only: Option<&str>, names: &[String]) -> Result<()> {
    let peers: Vec<Peer> =
        Peer::ALL.into_iter().filter(|p| names.is_empty() || names.iter().any(|n| n == p.key())).collect();
    let all = pin::cpus()?;
    let (Some(first), Some(last)) = (all.first(), all.last()) else { bail!("no CPU") };
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("the limit of open files")?;
    pin::to(*last)?;
    let rig = Rig::new(*first)?;
    let rows: Vec<Row> = Row::ALL.into_iter().filter(|r| only.is_none_or(|o| r.key() == o)).collect();
    let mut report = json!({ "machine": report::machine(), "rounds": rounds });
    let mut ceilings = Vec::new();
    for row in rows {
        let series = measure(&rig, row, &peers, rounds)?;
        if row == Row::Small {
            ceilings = series.iter().filter_map(|(_, s)| Spread::of(&s.rate).map(|s| s.median)).collect();
        }
        report["rows"][row.key()] = show(row, &series);
    }
    if only.is_none_or(|o| o == "latency") {
        let slowest = ceilings.into_iter().fold(f64::INFINITY, f64::min);
        let rate = if slowest.is_finite() { slowest * 0.7 } else { 10_000.0 };
        report["latency"] = latency(&rig, &peers, rate, rounds)?;
    }
    if only.is_none_or(|o| o == "idle") {
        report["idle"] = idle_memory(&rig, &peers)?;
    }
    if only.is_none_or(|o| o == "start") {
        report["start"] = start::starts(&rig, rounds)?;
        report["lookups"] = start::lookups(rounds)?;
    }
    report::write(out, "http.json", &report)
}

fn measure(rig: &Rig, row: Row, peers: &[Peer], rounds: u32) -> Result<Vec<(Peer, Series)>> {
    let mut series: Vec<(Peer, Series)> =
        peers.iter().filter(|p| row.suits(**p)).map(|p| (*p, Series::default())).collect();
    for round in 1..=rounds {
        for (peer, s) in &mut series {
            eprint!("\r{}: round {round} of {rounds}, {:<12}", row.key(), peer.name());
            let running = rig.start(*peer)?;
            let mut sample = || -> Result<()> {
                load::run(row, *peer, 0.5)?;
                let before = cpu::of_process(running.pid())?;
                let done = load::run(row, *peer, 3.0)?;
                let after = cpu::of_process(running.pid())?;
                s.rate.push(done.per_second);
                s.cpu.push((after - before) / done.requests as f64);
                s.failed += done.failed;
                Ok(())
            };
            let sampled = sample();
            running.stop()?;
            sampled.with_context(|| format!("{} ({})", peer.name(), row.key()))?;
        }
    }
    eprintln!("\r{:60}", "");
    Ok(series)
}

fn show(row: Row, series: &[(Peer, Series)]) -> Value {
    println!("\n{}", row.title());
    let cost = |p: Peer| {
        let s = series.iter().find(|(q, _)| *q == p)?;
        Spread::of(&s.1.cpu).map(|c| c.median)
    };
    let better = [cost(Peer::Nginx), cost(Peer::Haproxy)].into_iter().flatten().fold(f64::INFINITY, f64::min);
    let mut rows = Vec::new();
    let mut out = Vec::new();
    for (peer, s) in series {
        let (Some(rate), Some(cpu)) = (Spread::of(&s.rate), Spread::of(&s.cpu)) else { continue };
        rows.push(vec![
            peer.name().to_owned(),
            format!("{:.0}", rate.median),
            format!("{:.0}–{:.0}", rate.min, rate.max),
            format!("{:.1}", cpu.median * 1e6),
            format!("{:.1}–{:.1}", cpu.min * 1e6, cpu.max * 1e6),
            if better.is_finite() { format!("{:.2}", cpu.median / better) } else { "–".into() },
            s.failed.to_string(),
        ]);
        out.push(json!({
            "name": peer.name(), "per_second": rate.json(), "cpu_seconds_per_request": cpu.json(),
            "times_the_better": better.is_finite().then(|| cpu.median / better), "failed": s.failed,
        }));
    }
    report::table(&["", "per second", "min–max", "CPU µs each", "min–max", "× the better", "failed"], &rows);
    json!({ "title": row.title(), "targets": out })
}

fn latency(rig: &Rig, peers: &[Peer], rate: f64, rounds: u32) -> Result<Value> {
    println!("\nLatency of small responses at {rate:.0} requests/s, open loop, milliseconds (medians of rounds)");
    let mut rows = Vec::new();
    let mut out = Vec::new();
    for &peer in peers {
        let mut samples: [Vec<f64>; 3] = Default::default();
        for round in 1..=rounds {
            eprint!("\rlatency: round {round} of {rounds}, {:<12}", peer.name());
            let running = rig.start(peer)?;
            let measured = open_loop::run(peer.clear(), rate, 64, 3.0);
            running.stop()?;
            let measured = measured.with_context(|| peer.name().to_owned())?;
            for (s, v) in samples.iter_mut().zip([measured.p50, measured.p99, measured.p999]) {
                s.push(v * 1e3);
            }
        }
        let spreads: Vec<Spread> = samples.iter().filter_map(|s| Spread::of(s)).collect();
        let mut row = vec![peer.name().to_owned()];
        row.extend(spreads.iter().map(|s| format!("{:.2} ({:.2}–{:.2})", s.median, s.min, s.max)));
        rows.push(row);
        out.push(json!({ "name": peer.name(), "milliseconds": {
            "p50": spreads.first().map(Spread::json), "p99": spreads.get(1).map(Spread::json), "p999": spreads.get(2).map(Spread::json) } }));
    }
    eprintln!("\r{:60}", "");
    report::table(&["", "p50", "p99", "p99.9"], &rows);
    Ok(json!({ "rate": rate, "targets": out }))
}

fn idle_memory(rig: &Rig, peers: &[Peer]) -> Result<Value> {
    println!("\nMemory at {} idle connections (clear HTTP/1.1, one request each before)", idle::CONNECTIONS);
    let mut rows = Vec::new();
    let mut out = Vec::new();
    for &peer in peers {
        let running = rig.start(peer)?;
        let measured = idle::run(peer.clear(), running.pid());
        running.stop()?;
        let m = measured.with_context(|| peer.name().to_owned())?;
        let each = (m.after.saturating_sub(m.before)) as f64 / idle::CONNECTIONS as f64;
        rows.push(vec![
            peer.name().to_owned(),
            format!("{:.1}", m.before as f64 / 1024.0),
            format!("{:.1}", m.after as f64 / 1024.0),
            format!("{each:.1}"),
        ]);
        out.push(json!({ "name": peer.name(), "rss_kib_before": m.before, "rss_kib_after": m.after }));
    }
    report::table(&["", "MiB before", "MiB with them", "KiB each"], &rows);
    Ok(json!({ "connections": idle::CONNECTIONS, "targets": out }))
}
