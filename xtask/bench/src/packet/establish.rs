//! Brings a case's flows to where they are measured: handshakes done, or the table full of others.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use lb_common::flow::{Flow, side};
use lb_common::net::{Addr, Be16, proto};
use lb_common::service::forward;

use super::rig::{Rig, Target};
use super::template::{self, Family, Stage};
use super::{Case, Flows};

/// Packets that fill the table of fresh flows before ever new ones are measured: from then on each pushes out another.
const FILL: u32 = 1 << 20;

pub(crate) fn flows(rig: &mut Rig, case: &Case) -> Result<()> {
    let count = case.flows.count();
    if case.flows == Flows::New {
        rig.template(case, Stage::Opening)?;
        rig.nanos(Target::Balancer, FILL)?;
        return Ok(());
    }
    rig.template(case, Stage::Opening)?;
    rig.nanos(Target::Balancer, count)?;
    if case.protocol == proto::TCP && case.forward == forward::NAT {
        answer(rig, case)?;
    }
    // The packet that promotes, then one pass over flows as they stay.
    rig.template(case, Stage::Established)?;
    rig.nanos(Target::Balancer, count)?;
    let before = rig.counts(case)?;
    rig.nanos(Target::Balancer, count)?;
    rig.expect_forwarded(case, before, count)
}

/// The backends' SYN-ACKs, for every handshake under way. (A flow established for an earlier case has none.)
fn answer(rig: &Rig, case: &Case) -> Result<()> {
    let maps = &rig.balancer.maps;
    let mut answers = Vec::new();
    let mut note = |src: Addr, src_port: Be16, dst: Addr, dst_port: Be16, protocol: u32, flow: &Flow| {
        if flow.side == side::REPLY && protocol == u32::from(case.protocol) {
            answers.push(((IpAddr::from(src), src_port.host()), (IpAddr::from(dst), dst_port.host())));
        }
    };
    match case.family {
        Family::V4 => {
            for entry in maps.fresh4.map.iter() {
                let (k, f) = entry?;
                note(Addr::v4(k.src), k.src_port, Addr::v4(k.dst), k.dst_port, k.protocol, &f);
            }
        }
        Family::V6 => {
            for entry in maps.fresh6.map.iter() {
                let (k, f) = entry?;
                note(k.src, k.src_port, k.dst, k.dst_port, k.protocol, &f);
            }
        }
    }
    for (from, to) in answers {
        let packet = template::frame(case.protocol, Stage::Answer, from, to)?;
        rig.balancer.run(&packet, None).context("a backend's answer")?;
    }
    Ok(())
}
