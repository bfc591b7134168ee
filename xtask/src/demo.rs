//! `cargo xtask demo`: sets up, builds, and runs the main job before one's eyes.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{house, setup, shell};

#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// Engines to show, one after the other
    #[arg(long, value_delimiter = ',', default_value = "xdp,userspace")]
    engines: Vec<String>,
    /// One part alone: layer4 or shop
    #[arg(long)]
    part: Option<String>,
}

pub(crate) fn run(demo: &Demo) -> Result<ExitCode> {
    if !shell::is_root() {
        bail!("the demo needs root for its network namespaces and for XDP");
    }
    setup::ensure(setup::Scope::Lab)?;
    println!("demo: building");
    shell::run(shell::cargo().args(["build", "--quiet", "--bins"]).args(crate::suite::SELECTION))?;
    let mut c = shell::command(house::program("lb-demo", false)?);
    c.args(&demo.engines);
    if let Some(part) = &demo.part {
        c.args(["--part", part]);
    }
    c.env("LB_BIN", house::program("lb", false)?);
    Ok(if shell::status(&mut c)?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
