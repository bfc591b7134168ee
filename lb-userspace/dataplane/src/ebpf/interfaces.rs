//! The configured interfaces: attached together at the start, and again when one goes and comes back.

use std::collections::BTreeMap;

use lb_model::Host;

use super::attach::{self, Mode};
use super::load::{PROGRAM, Programs, unavailable};
use super::netlink::LinkState;
use super::object::OBJECT;
use super::pins::{self, Claim, Left};
use crate::plane::{InterfaceStatus, PlaneError};

type Links = BTreeMap<u32, LinkState>;

/// The configured interfaces as the kernel has them.
pub(super) fn configured(host: &Host, links: &Links) -> Result<Vec<LinkState>, PlaneError> {
    if host.interfaces.is_empty() {
        return Err(unavailable("XDP", "no interface is named ([host] interfaces, or --interface)".into()));
    }
    let find = |name: &String| {
        let link = links.values().find(|l| l.name == *name).cloned();
        link.ok_or_else(|| unavailable(&format!("interface {name}"), "there is none of that name".into()))
    };
    host.interfaces.iter().map(find).collect()
}

/// Attaches to every interface; if one refuses, those that were freshly attached are freed again.
pub(super) fn attach_all(
    programs: &mut Programs,
    links: &[LinkState],
    mode: Mode,
    host: &Host,
    claim: &Claim,
) -> Result<Vec<InterfaceStatus>, PlaneError> {
    let program = programs.get(PROGRAM)?;
    let mut out: Vec<InterfaceStatus> = Vec::new();
    let mut fresh = Vec::new();
    for link in links {
        match attach::attach(program, link, mode, &host.pin_dir) {
            Ok(taken_over) => {
                if !taken_over {
                    fresh.push(link.index);
                }
                let detail = if taken_over { "taken over from an earlier lb" } else { "attached" };
                out.push(InterfaceStatus {
                    name: link.name.clone(),
                    index: link.index,
                    mode: mode.as_str(),
                    detail: detail.into(),
                });
            }
            Err(e) => {
                for ifindex in fresh {
                    let _absent = std::fs::remove_file(pins::link_path(&host.pin_dir, ifindex));
                }
                if matches!(pins::inspect(&host.pin_dir, OBJECT, host.flow_table_size), Left::Same(_))
                    && pins::links(&host.pin_dir).is_empty()
                {
                    // Nothing is attached: maps left behind would only hold memory.
                    let _stays = pins::remove(&host.pin_dir, claim);
                }
                return Err(e);
            }
        }
    }
    attach::leave_others(&host.pin_dir, &links.iter().map(|l| l.index).collect::<Vec<_>>());
    Ok(out)
}

/// Attaches again where an interface has come back, under whatever number, without the program; notes those that are
/// gone.
pub(super) fn attach_again(
    programs: &mut Programs,
    links: &Links,
    mode: Mode,
    pin_dir: &std::path::Path,
    interfaces: &mut [InterfaceStatus],
) {
    for i in interfaces {
        let Some(link) = links.values().find(|l| l.name == i.name) else {
            if i.mode != "none" {
                tracing::warn!(
                    interface = i.name,
                    "the interface is gone; nothing is forwarded on it until it is back"
                );
                (i.mode, i.detail) = ("none", "the interface is gone".into());
            }
            continue;
        };
        let held = if mode == Mode::Native { link.xdp_native } else { link.xdp_generic };
        if link.index == i.index && held.is_some() {
            continue;
        }
        match programs.get(PROGRAM).and_then(|p| attach::attach(p, link, mode, pin_dir)) {
            Ok(_) => {
                if link.index != i.index {
                    let _absent = std::fs::remove_file(pins::link_path(pin_dir, i.index));
                }
                tracing::info!(interface = i.name, "attached again");
                (i.index, i.mode, i.detail) = (link.index, mode.as_str(), "attached again".into());
            }
            Err(e) if i.detail != e.to_string() => {
                tracing::warn!(interface = i.name, error = %e, "the interface has lost the XDP program");
                (i.mode, i.detail) = ("none", e.to_string());
            }
            Err(_) => {}
        }
    }
}
