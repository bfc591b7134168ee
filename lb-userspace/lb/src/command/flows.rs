//! `lb flows`: the live flow table.

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

pub(crate) fn flows(args: &Flows, global: &Global) -> Outcome {
    let query: Vec<_> =
        [args.service.as_ref().map(|s| format!("service={}", segment(s))), args.limit.map(|n| format!("limit={n}"))]
            .into_iter()
            .flatten()
            .collect();
    daemon::converse(|| async {
        let daemon = daemon::connect(global.socket.as_deref()).await?;
        let flows: Vec<FlowDoc> = daemon.get(&format!("/v1/flows?{}", query.join("&"))).await?;
        print::either(global.json, &flows, |flows| render(flows))
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
