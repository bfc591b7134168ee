//! Interfaces: which XDP mode each can have, and offloads that get in the way.

use std::fs;

use super::netlink::{self, attributes, find, number, text};
use super::{Finding, Grade};

/// `NETDEV_XDP_ACT_*`, include/uapi/linux/netdev.h.
const BASIC: u64 = 1;
const REDIRECT: u64 = 2;
const NDO_XMIT: u64 = 4;
const RX_SG: u64 = 32;

/// Beyond this a driver needs multi-buffer programs: a page, less headroom and skb_shared_info.
const ONE_BUFFER_MTU: u32 = 3498;

/// What is known of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Link {
    name: String,
    mtu: u32,
    /// `veth`, `bond`, `vlan` …; empty for hardware.
    kind: String,
    /// Of hardware.
    driver: Option<String>,
    /// `None`: the kernel does not say (before 6.3).
    features: Option<u64>,
    offloads: Vec<String>,
    /// Program attached now.
    program: Option<u64>,
}

pub(super) fn findings() -> Vec<Finding> {
    let Ok(entries) = fs::read_dir("/sys/class/net") else {
        return vec![Finding::new("interfaces", Grade::Limited, "/sys/class/net cannot be read")];
    };
    let mut names: Vec<_> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.retain(|n| n != "lo");
    names.sort();
    if names.is_empty() {
        return vec![Finding::new("interfaces", Grade::Limited, "none but lo")];
    }
    names.iter().filter_map(|n| look(n)).flat_map(|link| judge(&link)).collect()
}

fn look(name: &str) -> Option<Link> {
    const IFLA_MTU: u16 = 4;
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_INFO_KIND: u16 = 1;
    const IFLA_XDP: u16 = 43;
    const IFLA_XDP_PROG_ID: u16 = 4;
    let sys = format!("/sys/class/net/{name}");
    let index = fs::read_to_string(format!("{sys}/ifindex")).ok()?.trim().parse().ok()?;
    let answer = netlink::link(index).ok()?;
    let link = attributes(&answer);
    let nested = |outer, inner| find(&link, outer).and_then(|o| find(&attributes(o), inner));
    let driver = fs::read_link(format!("{sys}/device/driver")).ok();
    Some(Link {
        name: name.to_owned(),
        mtu: find(&link, IFLA_MTU).and_then(number).and_then(|n| n.try_into().ok()).unwrap_or(0),
        kind: nested(IFLA_LINKINFO, IFLA_INFO_KIND).map(text).unwrap_or_default(),
        driver: driver.and_then(|d| Some(d.file_name()?.to_string_lossy().into_owned())),
        features: netlink::xdp_features(index).ok(),
        offloads: netlink::offloads(index).unwrap_or_default(),
        program: nested(IFLA_XDP, IFLA_XDP_PROG_ID).and_then(number).filter(|id| *id > 0),
    })
}

fn judge(link: &Link) -> Vec<Finding> {
    let mut out = vec![mode(link)];
    let what = || format!("  {}", link.name);
    if let Some(id) = link.program {
        let advice = "if it is not lb's own, lb run leaves it alone and refuses: see bpftool net";
        out.push(Finding::new(what(), Grade::Limited, format!("XDP program {id} is attached")).advise(advice));
    }
    if link.offloads.iter().any(|o| o == "rx-lro") {
        let advice = format!("ethtool -K {} lro off", link.name);
        out.push(Finding::new(what(), Grade::Bad, "large receive offload is on: native XDP is refused").advise(advice));
    }
    if link.features.is_some_and(|f| f & BASIC != 0 && f & RX_SG == 0) && link.mtu > ONE_BUFFER_MTU {
        let found = format!("MTU {} and a driver without multi-buffer XDP", link.mtu);
        out.push(
            Finding::new(what(), Grade::Bad, found).advise(format!("ip link set {} mtu {ONE_BUFFER_MTU}", link.name)),
        );
    }
    let partial = matches!(link.kind.as_str(), "veth" | "tun") || link.driver.as_deref() == Some("virtio_net");
    if partial {
        let found = "packets of a local peer may come with partial checksums, which XDP cannot complete";
        let advice = "on each local sender: ethtool -K DEV tx off";
        out.push(Finding::new(what(), Grade::Limited, found).advise(advice));
    }
    out
}

fn mode(link: &Link) -> Finding {
    let carrier = link.driver.as_deref().unwrap_or(if link.kind.is_empty() { "unknown" } else { &link.kind });
    let what = format!("{} ({carrier})", link.name);
    match link.features {
        _ if matches!(link.kind.as_str(), "bond" | "team" | "vlan" | "bridge" | "macvlan") => {
            let found = "stacked on other interfaces";
            Finding::new(what, Grade::Limited, found).advise("name the lower interfaces in [host] interfaces")
        }
        None => Finding::new(what, Grade::Limited, "the kernel does not say what XDP modes there are (before 6.3)"),
        Some(f) if f & BASIC == 0 => {
            Finding::new(what, Grade::Limited, "generic XDP only: slow, the driver has no XDP")
        }
        Some(f) => {
            let names = [(REDIRECT, "redirect"), (NDO_XMIT, "redirect target"), (RX_SG, "multi-buffer")];
            let has: Vec<_> = names.iter().filter(|(bit, _)| f & bit != 0).map(|(_, name)| *name).collect();
            let finding = Finding::new(what, Grade::Good, format!("native XDP: {}", has.join(", ")));
            if f & NDO_XMIT != 0 {
                finding
            } else {
                // Several drivers, veth among them, can only be sent to while they run a program themselves.
                finding.advise(
                    "as a way out to backends it needs an XDP program of its own: name it in [host] interfaces too",
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nic(features: u64) -> Link {
        Link { name: "eth0".into(), mtu: 1500, driver: Some("ice".into()), features: Some(features), ..Link::default() }
    }

    #[test]
    fn judgements() {
        let good = judge(&nic(BASIC | REDIRECT | NDO_XMIT | RX_SG));
        assert_eq!((good.len(), good[0].grade), (1, Grade::Good));
        assert_eq!(judge(&nic(0))[0].grade, Grade::Limited);
        let jumbo = judge(&Link { mtu: 9000, ..nic(BASIC | NDO_XMIT) });
        assert_eq!((jumbo.len(), jumbo[1].grade), (2, Grade::Bad));
        let lro = judge(&Link { offloads: vec!["rx-lro".into()], ..nic(BASIC) });
        assert!(lro[1].advice.as_deref().is_some_and(|a| a.contains("lro off")));
        let veth = judge(&Link { kind: "veth".into(), driver: None, ..nic(BASIC | NDO_XMIT) });
        assert!(veth.iter().any(|f| f.found.contains("partial checksums")));
    }
}
