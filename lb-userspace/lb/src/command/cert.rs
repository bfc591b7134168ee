//! `lb cert list`: the certificates in use.

use clap::Subcommand;
use lb_api::wire::CertificateDoc;

use crate::cli::Global;
use crate::exit::Outcome;
use crate::print::table::{Cell, Table};
use crate::print::{BAD, PLAIN};
use crate::{daemon, print};

#[derive(Debug, Subcommand)]
pub(crate) enum Cert {
    /// List certificates: names, issuer, expiry, source
    List,
}

pub(crate) fn cert(args: &Cert, global: &Global) -> Outcome {
    let Cert::List = args;
    daemon::converse(|| async {
        let daemon = daemon::connect(global.socket.as_deref()).await?;
        let certificates: Vec<CertificateDoc> = daemon.get("/v1/certificates").await?;
        print::either(global.json, &certificates, |c| table(c).render())
    })
}

fn table(certificates: &[CertificateDoc]) -> Table<7> {
    let mut table = Table::new(["LISTENER", "NAMES", "ISSUER", "NOT AFTER", "SOURCE", "PATH", "ERROR"]);
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    for c in certificates {
        table.push([
            c.listener.clone().into(),
            c.names.join(", ").into(),
            or_dash(&c.issuer).into(),
            or_dash(&c.not_after).into(),
            c.source.clone().into(),
            or_dash(&c.path).into(),
            c.error.as_ref().map_or_else(|| Cell::styled("-", PLAIN), |e| Cell::styled(e.clone(), BAD)),
        ]);
    }
    table
}
