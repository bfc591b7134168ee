//! `lb detach`: take everything off, with a daemon or without.

use std::path::{Path, PathBuf};

use clap::Args;
use lb_api::wire::Done;
use lb_model::Host;

use crate::cli::Global;
use crate::exit::{Failure, Outcome};
use crate::{daemon, pins, print};

#[derive(Debug, Args)]
pub(crate) struct Detach {
    /// Where the kernel's objects are pinned; used when no daemon runs
    #[arg(long, value_name = "DIR", default_value = Host::DEFAULT_PIN_DIR)]
    pin_dir: PathBuf,
}

pub(crate) fn detach(args: &Detach, global: &Global) -> Outcome {
    daemon::converse(|| async {
        let done = match daemon::find(global.socket.as_deref()).await {
            Ok(daemon) => daemon.post::<Done>("/v1/detach", &()).await?,
            // A daemon that was stopped or killed left its pins behind on purpose.
            Err(_) => Done { done: without_daemon(&args.pin_dir)? },
        };
        print::either(global.json, &done, |d| format!("{}\n", d.done))
    })
}

fn without_daemon(pin_dir: &Path) -> Result<String, Failure> {
    let pin_dir = &pins::lasting(pin_dir, false);
    let at = pin_dir.display();
    match lb_dataplane::ebpf::detach(pin_dir).map_err(Failure::refused)? {
        Some(n) => Ok(format!("no daemon runs; what one left in {at} is gone, interfaces freed: {n}")),
        None => Ok(format!("no daemon runs, and none has left anything in {at}")),
    }
}
