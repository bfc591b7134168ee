//! `lb reload`: the file again, whole or not at all.

use lb_api::ClientError;
use lb_api::wire::{FaultKind, ReloadDoc};

use super::check;

use crate::cli::Global;
use crate::exit::Outcome;
use crate::{daemon, print};

pub(crate) fn reload(global: &Global) -> Outcome {
    daemon::converse(|| async {
        let daemon = daemon::connect(global.socket.as_deref()).await?;
        let report: ReloadDoc = match daemon.post("/v1/reload", &()).await {
            Err(ClientError::Fault(fault)) if fault.kind == FaultKind::Configuration => {
                let refused = check::say_faults(fault, global);
                print::to_stderr("the reload is refused; the old configuration stays in force");
                return Err(refused);
            }
            other => other?,
        };
        print::either(global.json, &report, render)
    })
}

fn render(report: &ReloadDoc) -> String {
    let mut out = String::new();
    report.warnings.iter().for_each(|w| out.push_str(&format!("{}\n", w.rendered)));
    report.changes.iter().for_each(|c| out.push_str(&format!("{c}\n")));
    report.notes.iter().for_each(|n| out.push_str(&format!("note: {n}\n")));
    out.push_str(if report.changes.is_empty() { "reloaded; nothing changed\n" } else { "reloaded\n" });
    out
}
