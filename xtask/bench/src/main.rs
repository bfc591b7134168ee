//! Measurements: nanoseconds per packet, traffic through real interfaces, and HTTP, beside others.
#![forbid(unsafe_code)]

mod cpu;
mod forward;
mod http;
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
    /// Requests through layer 7, beside nginx, HAProxy and a bare hyper proxy
    Http {
        #[command(flatten)]
        common: Common,
        /// One row alone: small, small-tls, handshakes, h2, big, upload, cache-hit, latency, idle or start
        #[arg(long)]
        only: Option<String>,
        /// These alone: lb, nginx, haproxy, bare
        #[arg(long, value_delimiter = ',')]
        peers: Vec<String>,
    },
    /// The bare hyper proxy itself
    #[command(hide = true)]
    BareProxy(http::Bare),
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
        What::Http { common: c, only, peers } => http::run(c.rounds, &c.out, only.as_deref(), &peers),
        What::BareProxy(bare) => http::bare_proxy(&bare),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}
