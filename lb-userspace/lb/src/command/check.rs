//! `lb check`: every error of a file, with its place.

use std::path::PathBuf;

use clap::Args;
use lb_api::wire::{DiagnosticDoc, Fault};
use lb_config::{Diagnostic, Loaded};

use crate::cli::Global;
use crate::exit::{Failure, Outcome};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The file to check
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(crate) fn check(args: &Check, global: &Global) -> Outcome {
    match lb_config::load(&args.config) {
        Ok(Loaded { warnings, desired }) => {
            if global.json {
                // Errors only: an empty list is a file that would be taken.
                return print::json(&Vec::<Diagnostic>::new());
            }
            warnings.iter().for_each(|w| print::to_stderr(&w.to_string()));
            let (services, pools) = (desired.services.len(), desired.pools.len());
            print::line(&format!("{}: valid; services: {services}, pools: {pools}", args.config.display()))
        }
        Err(errors) => Err(say(&errors, global)),
    }
}

/// Errors as `lb check` prints them: for scripts an array on standard output, for people excerpts on standard error.
pub(crate) fn say(errors: &[Diagnostic], global: &Global) -> Failure {
    if global.json {
        return print::json(&errors).err().unwrap_or(Failure::Said);
    }
    show(errors.iter().map(ToString::to_string));
    Failure::Said
}

/// The same of errors that the daemon found.
pub(crate) fn say_faults(fault: Fault, global: &Global) -> Failure {
    if global.json {
        let bare = |d: DiagnosticDoc| DiagnosticDoc { rendered: String::new(), ..d };
        let errors: Vec<_> = fault.diagnostics.into_iter().map(bare).collect();
        return print::json(&errors).err().unwrap_or(Failure::Said);
    }
    show(fault.diagnostics.into_iter().map(|d| d.rendered));
    Failure::Said
}

fn show(errors: impl ExactSizeIterator<Item = String>) {
    let n = errors.len();
    errors.for_each(|e| print::to_stderr(&format!("{e}\n")));
    print::to_stderr(&if n == 1 { "1 error".to_owned() } else { format!("{n} errors") });
}
