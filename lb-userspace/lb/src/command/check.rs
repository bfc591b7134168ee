//! `lb check`: every error of a file, with its place.

use std::path::{Path, PathBuf};

use clap::Args;
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
        Err(errors) if global.json => {
            print::json(&errors)?;
            Err(Failure::Said)
        }
        Err(errors) => Err(say(&args.config, &errors)),
    }
}

/// Prints errors as people read them.
pub(crate) fn say(file: &Path, errors: &[Diagnostic]) -> Failure {
    errors.iter().for_each(|e| print::to_stderr(&format!("{e}\n")));
    let errors = match errors.len() {
        1 => "1 error".to_owned(),
        n => format!("{n} errors"),
    };
    print::to_stderr(&format!("{}: {errors}", file.display()));
    Failure::Said
}
