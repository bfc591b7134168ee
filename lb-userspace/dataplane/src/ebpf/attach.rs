//! Attaching: one XDP link per interface, pinned, replaced in place when the next `lb` takes over.

use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{Xdp, XdpMode, loaded_programs};

use super::load::{chain, unavailable};
use super::netlink::LinkState;
use super::pins;
use crate::plane::PlaneError;

/// How the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the network stack, on any interface.
    Generic,
}

impl Mode {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
    const fn xdp(self) -> XdpMode {
        match self {
            Self::Native => XdpMode::Driver,
            Self::Generic => XdpMode::Skb,
        }
    }
}

/// An earlier `lb`'s link on an interface, and the number of the program on it.
fn inherited(dir: &Path, ifindex: u32) -> Option<(PinnedLink, u32)> {
    let path = pins::link_path(dir, ifindex);
    let link = PinnedLink::from_pin(&path).ok()?;
    // The information is behind the plain handle; it is opened a second time to keep this one.
    let program = FdLink::from(PinnedLink::from_pin(&path).ok()?).info().ok()?.program_id();
    Some((link, program))
}

/// The mode in which an earlier `lb` still forwards on any of these interfaces.
#[must_use]
pub fn inherited_mode(dir: &Path, links: &[&LinkState]) -> Option<Mode> {
    links.iter().find_map(|l| {
        let (_, program) = inherited(dir, l.index)?;
        occupant(l, Some(program)).filter(|o| o.2).map(|o| o.0)
    })
}

/// What sits on an interface: nothing, an earlier `lb`, or somebody else.
fn occupant(link: &LinkState, ours: Option<u32>) -> Option<(Mode, u32, bool)> {
    let native = link.xdp_native.map(|id| (Mode::Native, id));
    let (mode, id) = native.or(link.xdp_generic.map(|id| (Mode::Generic, id)))?;
    Some((mode, id, ours == Some(id)))
}

fn program_name(id: u32) -> String {
    let found = loaded_programs().flatten().find(|p| p.id() == id);
    found.and_then(|p| p.name_as_str().map(str::to_owned)).unwrap_or_else(|| "unnamed".to_owned())
}

/// Attaches `program` to an interface and pins the link. A link that an earlier `lb` left in the same mode gets the new
/// program in one step, without a packet in between; one in the other mode is taken off first.
///
/// # Errors
/// [`PlaneError::Unavailable`] if somebody else's program sits there or the interface refuses.
pub fn attach(program: &mut Xdp, link: &LinkState, mode: Mode, dir: &Path) -> Result<bool, PlaneError> {
    let what = format!("interface {}", link.name);
    let old = inherited(dir, link.index);
    if let Some((held, id, ours)) = occupant(link, old.as_ref().map(|o| o.1)) {
        if !ours {
            let name = program_name(id);
            return Err(unavailable(
                &what,
                format!(
                    "another XDP program is attached to it (id {id}, '{name}', {}); take it off first, \
                     for example: ip link set dev {} xdp off",
                    held.as_str(),
                    link.name
                ),
            ));
        }
        if held == mode
            && let Some((old, _)) = old
        {
            replace(program, old).map_err(|why| unavailable(&what, why))?;
            return Ok(true);
        }
        tracing::info!(interface = link.name, from = held.as_str(), to = mode.as_str(), "changing the XDP mode");
    }
    // Left over: of the other mode, or of an interface that is gone and whose number came back. Open, it would stay.
    drop(old);
    let _absent = std::fs::remove_file(pins::link_path(dir, link.index));
    fresh(program, link, mode, dir).map_err(|why| unavailable(&format!("{} XDP on {what}", mode.as_str()), why))?;
    Ok(false)
}

fn replace(program: &mut Xdp, old: PinnedLink) -> Result<(), String> {
    let link = XdpLink::try_from(FdLink::from(old)).map_err(|e| chain(&e))?;
    program.attach_to_link(link).map(drop).map_err(|e| chain(&e))
}

fn fresh(program: &mut Xdp, link: &LinkState, mode: Mode, dir: &Path) -> Result<(), String> {
    let id = program.attach_to_if_index(link.index, mode.xdp()).map_err(|e| chain(&e))?;
    let owned = program.take_link(id).map_err(|e| chain(&e))?;
    let owned = FdLink::try_from(owned).map_err(|_| "this kernel has no XDP links (5.9)".to_owned())?;
    owned.pin(pins::link_path(dir, link.index)).map(drop).map_err(|e| chain(&e))
}

/// Takes the program off interfaces that are no longer configured.
pub fn leave_others(dir: &Path, configured: &[u32]) {
    for (ifindex, path) in pins::links(dir) {
        if configured.contains(&ifindex) {
            continue;
        }
        match std::fs::remove_file(&path) {
            Ok(()) => tracing::info!(ifindex, "detached from an interface that is not configured any more"),
            Err(e) => tracing::warn!(ifindex, error = %e, "still attached to an interface that is not configured"),
        }
    }
}
