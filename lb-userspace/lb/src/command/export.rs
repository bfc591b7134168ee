//! `lb export`: the state in force as a configuration file.

use lb_api::wire::ExportDoc;

use crate::cli::Global;
use crate::exit::Outcome;
use crate::{daemon, print};

pub(crate) fn export(global: &Global) -> Outcome {
    daemon::converse(|| async {
        let daemon = daemon::connect(global.socket.as_deref()).await?;
        let export: ExportDoc = daemon.get("/v1/export").await?;
        print::either(global.json, &export, |e| e.config.clone())
    })
}
