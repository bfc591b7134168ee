//! The demo: a lab, `lb run`, real traffic, a killed backend, a drained one, then both layers together; every claim is
//! checked.
#![forbid(unsafe_code)]

mod acts;
mod backend;
mod claims;
mod picture;
mod product;
mod shop;
mod stage;
mod timeline;
mod traffic;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    role: Option<Role>,
    /// Engines, one after the other: xdp, xdp-generic, userspace
    engines: Vec<String>,
    /// One part alone
    #[arg(long, value_enum)]
    part: Option<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Layer 4: spread, kill, drain
    Layer4,
    /// Both layers: layer 4, two gateways, services
    Shop,
}

/// The demo starts itself again as its own backends, so that one can be killed as a process is killed.
#[derive(Debug, Subcommand)]
enum Role {
    #[command(hide = true)]
    Http { name: String, listen: SocketAddr },
    #[command(hide = true)]
    Udp { name: String, listen: SocketAddr },
    #[command(hide = true)]
    Service { name: String, listen: SocketAddr },
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("demo: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<ExitCode> {
    match options.role {
        Some(Role::Http { name, listen }) => backend::http(&name, listen),
        Some(Role::Udp { name, listen }) => backend::udp(&name, listen),
        Some(Role::Service { name, listen }) => backend::service(&name, listen),
        None => show(&options.engines, options.part),
    }
}

fn show(engines: &[String], part: Option<Part>) -> Result<ExitCode> {
    let mut summaries = Vec::new();
    for engine in engines.iter().filter(|_| part != Some(Part::Shop)) {
        summaries.push(acts::play(engine)?);
    }
    let mut broken: usize = summaries.iter().map(|s| s.broken).sum();
    for engine in engines.iter().filter(|_| part != Some(Part::Layer4)) {
        broken += shop::play(engine)?;
    }
    if !summaries.is_empty() {
        picture::summary(&summaries);
    }
    if broken > 0 {
        println!("{broken} claims did not hold");
        return Ok(ExitCode::FAILURE);
    }
    println!("Every claim held. `cargo xtask lab up` makes such a network to play in.");
    Ok(ExitCode::SUCCESS)
}
