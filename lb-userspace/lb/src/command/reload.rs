//! `lb reload`: the file again, whole or not at all.

use lb_api::wire::ReloadDoc;

use crate::cli::Global;
use crate::exit::Outcome;
use crate::{daemon, print};

pub(crate) fn reload(global: &Global) -> Outcome {
    daemon::converse(|| async {
        let daemon = daemon::connect(global.socket.as_deref()).await?;
        let report: ReloadDoc = daemon.post("/v1/reload", &()).await?;
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
