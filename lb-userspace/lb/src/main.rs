//! The binary `lb`: the daemon and the command line.
#![forbid(unsafe_code)]

mod cli;
mod command;
mod daemon;
mod exit;
mod pins;
mod place;
mod print;

use std::process::ExitCode;

use clap::Parser as _;

use crate::exit::Failure;

/// A request allocates and frees some dozens of small pieces on one thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // What is typed wrong ends here, with status 2; `--help` and `--version` with 0.
    let cli = cli::Cli::parse();
    match command::dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let status = failure.status();
            if let Failure::Refused(error) | Failure::Wrong(error) = failure {
                print::error(&error);
            }
            ExitCode::from(status)
        }
    }
}
