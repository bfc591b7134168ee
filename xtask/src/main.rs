//! `cargo xtask`: the habits of the house.
#![forbid(unsafe_code)]

mod bench;
mod demo;
mod fuzz;
mod house;
mod lab;
mod programs;
mod setup;
mod shell;
mod suite;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The habits of the house", version)]
struct Xtask {
    #[command(subcommand)]
    habit: Habit,
}

#[derive(Debug, Subcommand)]
enum Habit {
    /// Install what is missing on this host, or name it
    Setup {
        /// Also what the benchmarks compare with: haproxy, nginx, wrk
        #[arg(long)]
        bench: bool,
    },
    /// Run the main job end to end on this host, and show it
    Demo(demo::Demo),
    /// Pass the whole test suite
    Test {
        /// Only what needs no network namespaces
        #[arg(long, conflicts_with = "long")]
        quick: bool,
        /// Also loads of a minute, and every fuzz target for half a minute
        #[arg(long)]
        long: bool,
    },
    /// Check the rules of the house
    Tidy,
    /// Measure, side by side with others
    Bench(bench::Bench),
    /// A network of namespaces to play in
    Lab(lab::Args),
}

fn main() -> ExitCode {
    let done = match Xtask::parse().habit {
        Habit::Setup { bench } => setup::run(if bench { setup::Scope::Bench } else { setup::Scope::Lab }),
        Habit::Demo(demo) => demo::run(&demo),
        Habit::Test { quick, long } => suite::run(match (quick, long) {
            (true, _) => suite::Length::Quick,
            (_, true) => suite::Length::Long,
            _ => suite::Length::Whole,
        }),
        Habit::Tidy => tidy::run(),
        Habit::Bench(bench) => bench::run(&bench),
        Habit::Lab(args) => lab::run(&args),
    };
    match done {
        Ok(code) => code,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}
