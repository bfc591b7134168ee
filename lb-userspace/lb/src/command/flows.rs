//! `lb flows`: the live flow table.

use std::io::IsTerminal as _;

use clap::Args;
use lb_api::client::segment;
use lb_api::wire::FlowDoc;

use crate::cli::Global;
use crate::exit::Outcome;
use crate::print::table::Table;
use crate::print::units;
use crate::{daemon, print};

#[derive(Debug, Args)]
pub(crate) struct Flows {
    /// Only flows of this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// More than a person reads; `--limit` asks for more, and a pipe gets all.
const SCREENFUL: usize = 1000;

pub(crate) fn flows(args: &Flows, global: &Global) -> Outcome {
    let short = args.limit.is_none() && !global.json && std::io::stdout().is_terminal();
    let limit = if short { Some(SCREENFUL) } else { args.limit };
    let service = args.service.as_ref().map(|s| format!("service={}", segment(s)));
    let query: Vec<_> = service.into_iter().chain(limit.map(|n| format!("limit={n}"))).collect();
    let path = format!("/v1/flows?{}", query.join("&"));
    daemon::converse(|| async {
        let daemon = daemon::connect(global.socket.as_deref()).await?;
        if global.json {
            return print::line(&daemon.get_text(&path).await?);
        }
        let flows: Vec<FlowDoc> = daemon.get(&path).await?;
        print::text(&render(&flows))?;
        if short && flows.len() == SCREENFUL {
            print::to_stderr(&format!("the first {SCREENFUL}; --limit N shows more"));
        }
        Ok(())
    })
}

fn render(flows: &[FlowDoc]) -> String {
    let mut table =
        Table::new(["SERVICE", "PROTO", "CLIENT", "VIP", "BACKEND", "STATE", ">AGE", ">IDLE", ">PACKETS", ">BYTES"]);
    for f in flows {
        table.push([
            f.service.clone().into(),
            f.protocol.clone().into(),
            f.client.clone().into(),
            f.vip.clone().into(),
            f.backend.clone().into(),
            f.state.clone().into(),
            units::seconds(f.age_seconds).into(),
            units::seconds(f.idle_seconds).into(),
            units::count(f.packets).into(),
            units::bytes(f.bytes).into(),
        ]);
    }
    table.render()
}
