//! `cargo xtask bench`: measurements, side by side with others, as a table and as JSON.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Subcommand;

use crate::{house, setup, shell};

#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Nanoseconds per packet of the XDP program, by BPF_PROG_TEST_RUN
    Packet {
        /// Interleaved rounds; medians are quoted
        #[arg(long, default_value_t = 7)]
        rounds: u32,
    },
    /// Packets, connections and bytes per second through real interfaces, beside nftables, HAProxy and nginx
    Forward {
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// One part alone: packets, connections or proxies
        #[arg(long)]
        only: Option<String>,
    },
    /// Requests through layer 7, beside nginx, HAProxy and a bare hyper proxy
    Http {
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// One row alone, for example small, h2, latency or idle
        #[arg(long)]
        only: Option<String>,
    },
}

pub(crate) fn run(bench: &Bench) -> Result<ExitCode> {
    if !shell::is_root() {
        bail!("benchmarks need root to load programs and to make network namespaces");
    }
    let forward = !matches!(bench.what, Some(What::Packet { .. }));
    setup::ensure(if forward { setup::Scope::Bench } else { setup::Scope::Lab })?;
    println!("bench: building");
    let packages = ["-p", "lb", "-p", "lb-tests", "-p", "lb-bench", "--bins"];
    shell::run(shell::cargo().args(["build", "--quiet", "--release"]).args(packages))?;
    let mut only = None;
    let runs: &[(&str, u32)] = match &bench.what {
        Some(What::Packet { rounds }) => &[("packet", *rounds)],
        Some(What::Forward { rounds, only: part }) => {
            only = part.as_deref();
            &[("forward", *rounds)]
        }
        Some(What::Http { rounds, only: row }) => {
            only = row.as_deref();
            &[("http", *rounds)]
        }
        None => &[("packet", 7), ("forward", 5), ("http", 5)],
    };
    for (what, rounds) in runs {
        let mut c = shell::command(house::program("lb-bench", true)?);
        c.args([*what, "--rounds", &rounds.to_string()]);
        if let Some(part) = only {
            c.args(["--only", part]);
        }
        c.arg("--out").arg(house::target()?.join("bench"));
        c.env("LB_BIN", house::program("lb", true)?);
        if !shell::status(&mut c)?.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
