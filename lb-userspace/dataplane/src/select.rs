//! Which engine runs: the one asked for, or the best that this host allows.

use lb_model::{Host, PlaneChoice};

use crate::ebpf::attach::Mode;
use crate::ebpf::{EbpfPlane, pins};
use crate::plane::{DataPlane, PlaneError};
use crate::user::UserPlane;

/// An engine at work.
#[derive(Debug)]
pub struct Started {
    pub plane: Box<dyn DataPlane>,
    /// Why this one: shown by `lb status`.
    pub reason: String,
    /// What an operator should know of the start.
    pub notes: Vec<String>,
}

/// Starts the data plane that `[host] data_plane` asks for. `auto` tries XDP in the driver, generic XDP and the userspace
/// engine in turn, and logs every fall with its reason; any other choice is taken at its word.
///
/// # Errors
/// If the engine asked for cannot be had, or with `auto` not even the userspace engine.
pub fn start(host: &Host) -> Result<Started, PlaneError> {
    choose(host, false)
}

/// The same while the lb that is to be replaced still runs: the userspace engine listens beside that one's sockets until
/// its first tick (the kernel shares a port among one user's sockets only).
///
/// # Errors
/// As [`start`].
pub fn start_beside(host: &Host) -> Result<Started, PlaneError> {
    choose(host, true)
}

fn choose(host: &Host, beside: bool) -> Result<Started, PlaneError> {
    match host.data_plane {
        PlaneChoice::Auto => auto(host, beside),
        PlaneChoice::Xdp => xdp(host, Mode::Native, "asked for by data_plane = \"xdp\"".into()),
        PlaneChoice::XdpGeneric => xdp(host, Mode::Generic, "asked for by data_plane = \"xdp-generic\"".into()),
        PlaneChoice::Userspace => userspace(host, "asked for by data_plane = \"userspace\"".into(), beside),
    }
}

fn auto(host: &Host, beside: bool) -> Result<Started, PlaneError> {
    if let Some(lack) = privilege_lacking() {
        let why = format!(
            "{lack}; as root (or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN) packets would be forwarded in the kernel by \
             XDP, without a copy through this process, and dsr would work"
        );
        tracing::warn!("running the userspace data plane: {why}");
        return userspace(host, why, beside);
    }
    if EbpfPlane::inherited_mode(host) == Some(Mode::Generic) {
        // Trying native mode would take the program off for a moment, only to find that the driver still lacks it.
        let reason = "generic XDP, as the earlier lb left it; `lb detach` first to try the driver again";
        match xdp(host, Mode::Generic, reason.into()) {
            Ok(started) => return Ok(started),
            Err(e) => tracing::warn!("the generic XDP of an earlier lb cannot be taken over: {e}"),
        }
    }
    let native = match xdp(host, Mode::Native, "the driver runs XDP".into()) {
        Ok(started) => return Ok(started),
        Err(e) => e.to_string(),
    };
    tracing::warn!("no XDP in the driver ({native}); trying generic XDP");
    let generic = match xdp(host, Mode::Generic, format!("no XDP in the driver: {native}")) {
        Ok(started) => {
            tracing::warn!("generic XDP is in force: it works on any interface and is several times slower");
            return Ok(started);
        }
        Err(e) => e.to_string(),
    };
    let why =
        if native == generic { native } else { format!("no XDP in the driver: {native}; no generic XDP: {generic}") };
    tracing::warn!("no generic XDP ({generic}); running the userspace data plane");
    userspace(host, why, beside)
}

fn xdp(host: &Host, mode: Mode, reason: String) -> Result<Started, PlaneError> {
    if let Some(lack) = privilege_lacking() {
        return Err(PlaneError::Unavailable { what: "XDP".into(), why: format!("{lack}; run lb as root") });
    }
    let plane = EbpfPlane::start(host, mode)?;
    let notes = plane.notes().to_vec();
    Ok(Started { plane: Box::new(plane), reason, notes })
}

fn userspace(host: &Host, reason: String, beside: bool) -> Result<Started, PlaneError> {
    // An XDP program that an earlier lb left would go on taking the packets away from the sockets.
    let mut notes = Vec::new();
    if host.pin_dir.exists() {
        match pins::detach(&host.pin_dir) {
            Ok(Some(n)) => {
                notes.push(format!("took the XDP program of an earlier lb off, with its flows; interfaces freed: {n}"));
            }
            Ok(None) => {}
            Err(e) => tracing::warn!("an XDP program of another lb may take packets away from this one: {e}"),
        }
    }
    let plane = UserPlane::start(host)?;
    let plane = if beside { plane.beside() } else { plane };
    Ok(Started { plane: Box::new(plane), reason, notes })
}

/// The privilege that XDP needs and this process lacks.
fn privilege_lacking() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    lacking(&status).map(|what| format!("this process lacks {what}"))
}

/// From the effective capabilities in `/proc/self/status` (capabilities(7)).
fn lacking(status: &str) -> Option<&'static str> {
    const NET_ADMIN: u64 = 1 << 12;
    const SYS_ADMIN: u64 = 1 << 21;
    const PERFMON: u64 = 1 << 38;
    const BPF: u64 = 1 << 39;
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    let held = line.and_then(|v| u64::from_str_radix(v.trim(), 16).ok()).unwrap_or(0);
    if held & NET_ADMIN == 0 {
        return Some("CAP_NET_ADMIN");
    }
    let bpf = held & SYS_ADMIN != 0 || held & (BPF | PERFMON) == BPF | PERFMON;
    if bpf { None } else { Some("CAP_BPF and CAP_PERFMON") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_are_read_from_the_mask() {
        assert_eq!(lacking("CapEff:\t000001ffffffffff\n"), None);
        assert_eq!(lacking("CapEff:\t0000000000000000\n"), Some("CAP_NET_ADMIN"));
        assert_eq!(lacking("CapEff:\t0000000000001000\n"), Some("CAP_BPF and CAP_PERFMON"));
        assert_eq!(lacking("CapEff:\t000000c000001000\n"), None);
        assert_eq!(lacking(""), Some("CAP_NET_ADMIN"));
    }
}
