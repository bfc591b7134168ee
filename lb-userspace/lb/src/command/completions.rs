//! `lb completions`: what a shell needs to complete commands and flags.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::{Cli, Global};
use crate::exit::{Failure, Outcome};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell, e.g. lb completions bash > /etc/bash_completion.d/lb
    shell: Shell,
}

#[derive(serde::Serialize)]
struct Script {
    script: String,
}

pub(crate) fn completions(args: &Completions, global: &Global) -> Outcome {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lb", &mut out);
    let script = String::from_utf8(out).map_err(Failure::refused)?;
    print::either(global.json, &Script { script }, |s| s.script.clone())
}
