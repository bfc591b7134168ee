//! `cargo xtask lab`: a network of namespaces to play in.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{house, setup, shell};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// up | exec NAME -- CMD | list | down, and what else the lab's own program takes (try --help)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    words: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !shell::is_root() {
        bail!("network namespaces need root");
    }
    setup::ensure(setup::Scope::Lab)?;
    shell::run(shell::cargo().args(["build", "--quiet", "--bins"]).args(crate::suite::SELECTION))?;
    let lab = house::program("lab", false)?;
    let status = shell::status(shell::command(lab).args(&args.words).env("LB_BIN", house::program("lb", false)?))?;
    Ok(ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1)))
}
