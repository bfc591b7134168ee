//! Measurements: nanoseconds per packet, and traffic through real interfaces beside others.
#![forbid(unsafe_code)]

mod cpu;
mod forward;
mod packet;
mod pin;
mod report;
mod spread;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Nanoseconds per packet of the XDP program, by BPF_PROG_TEST_RUN
    Packet(Common),
    /// Packets, connections and bytes a second through real interfaces, beside others
    Forward {
        #[command(flatten)]
        common: Common,
        /// One part alone
        #[arg(long, value_enum)]
        only: Option<forward::Part>,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Interleaved rounds, of which medians are quoted
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// Where the JSON goes
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let done: Result<()> = match Options::parse().what {
        What::Packet(c) => packet::run(c.rounds, &c.out),
        What::Forward { common: c, only } => forward::run(c.rounds, &c.out, only),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}
