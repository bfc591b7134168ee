//! Makes a lab's namespaces and wires, and sets the addresses, routes and offloads of its hosts.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::addresses::{self, Family, VIPS4, VIPS6};
use super::{Host, Lab, Topology, netns, pass};

/// Addresses are usable at once (no duplicate detection), nobody filters by source, and nobody answers ARP for an address
/// that is not on the asked interface (backends hold service addresses on `lo` for direct return).
const SETTINGS: [(&str, &str); 10] = [
    ("ipv6.conf.all.accept_dad", "0"),
    ("ipv6.conf.default.accept_dad", "0"),
    ("ipv6.conf.all.accept_ra", "0"),
    ("ipv6.conf.default.accept_ra", "0"),
    ("ipv4.conf.all.rp_filter", "0"),
    ("ipv4.conf.default.rp_filter", "0"),
    ("ipv4.conf.all.arp_ignore", "1"),
    ("ipv4.conf.all.arp_announce", "2"),
    ("ipv4.icmp_ratelimit", "0"),
    // Sources out of a locally routed range (the kernel grants this for IPv4 unasked).
    ("ipv6.ip_nonlocal_bind", "1"),
];

pub(crate) fn build(lab: &Lab) -> Result<()> {
    for host in lab.hosts() {
        netns::create(host.netns())?;
        host.set(&SETTINGS)?;
    }
    let router = lab.topology == Topology::TwoArmed;
    if router {
        lab.balancer.set(&[("ipv4.ip_forward", "1"), ("ipv6.conf.all.forwarding", "1")])?;
    }
    ip(&lab.net, &wires(lab))?;
    ip(&lab.client, &client(lab.topology))?;
    ip(&lab.balancer, &balancer(lab.topology))?;
    for (index, host) in lab.backends.iter().enumerate() {
        ip(host, &backend(lab.topology, index))?;
    }
    for host in lab.hosts().filter(|h| h.name() != "net") {
        plain_checksums(host, if host.name() == "lb" { lab.interfaces() } else { &["eth0"] })?;
    }
    pass_all(lab)
}

/// Bridges and the wires to them. Multicast snooping would lose neighbour solicitations until it has learnt.
fn wires(lab: &Lab) -> String {
    let mut out = String::from("link set lo up\n");
    let bridges: &[&str] = if lab.topology == Topology::TwoArmed { &["front", "back"] } else { &["back"] };
    for bridge in bridges {
        let _ = writeln!(out, "link add {bridge} type bridge mcast_snooping 0 forward_delay 0\nlink set {bridge} up");
    }
    let mut wire = |host: &Host, port: &str, device: &str, bridge: &str| {
        let _ = writeln!(out, "link add {port} type veth peer name {device} netns {}", host.netns());
        let _ = writeln!(out, "link set {port} master {bridge} up");
    };
    wire(&lab.client, "p-client", "eth0", bridges[0]);
    wire(&lab.balancer, "p-lb", "eth0", bridges[0]);
    if lab.topology == Topology::TwoArmed {
        wire(&lab.balancer, "p-lb1", "eth1", "back");
    }
    for host in &lab.backends {
        wire(host, &format!("p-{}", host.name()), "eth0", "back");
    }
    out
}

/// `link up` and addresses of one interface.
fn device(out: &mut String, name: &str, addresses: [std::net::IpAddr; 2]) {
    let _ = writeln!(out, "link set {name} up\naddr add {}/24 dev {name}", addresses[0]);
    let _ = writeln!(out, "addr add {}/64 dev {name} nodad", addresses[1]);
}

fn both(address: impl Fn(Family) -> std::net::IpAddr) -> [std::net::IpAddr; 2] {
    Family::BOTH.map(address)
}

fn client(topology: Topology) -> String {
    let mut out = String::from("link set lo up\n");
    device(&mut out, "eth0", both(|f| addresses::client(topology, f)));
    let [via4, via6] = both(|f| addresses::balancer_front(topology, f));
    let _ = writeln!(out, "route add local {} dev lo\nroute add {VIPS4} via {via4}", addresses::CLIENTS4);
    let _ = writeln!(out, "route add local {} dev lo\nroute add {VIPS6} via {via6}", addresses::CLIENTS6);
    if topology == Topology::TwoArmed {
        let _ = writeln!(out, "route add 10.77.0.0/24 via {via4}\nroute add fd77::/64 via {via6}");
    }
    out
}

fn balancer(topology: Topology) -> String {
    let mut out = String::from("link set lo up\n");
    device(&mut out, "eth0", both(|f| addresses::balancer_front(topology, f)));
    if topology == Topology::TwoArmed {
        device(&mut out, "eth1", both(addresses::balancer_back));
    }
    to_clients(&mut out, both(|f| addresses::client(topology, f)));
    out
}

fn backend(topology: Topology, index: usize) -> String {
    let mut out = String::from("link set lo up\n");
    device(&mut out, "eth0", both(|f| addresses::backend(index, f)));
    // Direct return: the service addresses are the backend's too, on an interface that nobody asks.
    let _ = writeln!(out, "route add local {VIPS4} dev lo\nroute add local {VIPS6} dev lo");
    match topology {
        Topology::OneArmed => to_clients(&mut out, both(|f| addresses::client(topology, f))),
        Topology::TwoArmed => {
            let [via4, via6] = both(addresses::balancer_back);
            let _ = writeln!(out, "route add default via {via4}\nroute add default via {via6}");
        }
    }
    out
}

fn to_clients(out: &mut String, via: [std::net::IpAddr; 2]) {
    let _ = writeln!(out, "route add {} via {}", addresses::CLIENTS4, via[0]);
    let _ = writeln!(out, "route add {} via {}", addresses::CLIENTS6, via[1]);
}

/// Over veth a packet may travel with only the pseudo-header's sum in its checksum, which no wire would carry and an XDP
/// program cannot complete; and packets larger than the MTU, likewise.
fn plain_checksums(host: &Host, devices: &[&str]) -> Result<()> {
    for device in devices {
        host.run("ethtool", &["-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off"])?;
    }
    Ok(())
}

/// See [`pass`].
fn pass_all(lab: &Lab) -> Result<()> {
    let mut file = tempfile::Builder::new().prefix("lbt-pass").suffix(".o").tempfile()?;
    file.write_all(&pass::object()?)?;
    let path = file.path().to_str().context("the path of a temporary file is no text")?;
    let ports: &[&str] = if lab.topology == Topology::TwoArmed { &["p-lb", "p-lb1"] } else { &["p-lb"] };
    for port in ports {
        lab.net.run("ip", &["link", "set", "dev", port, "xdpdrv", "obj", path, "sec", pass::SECTION])?;
    }
    Ok(())
}

/// Runs lines of `ip` commands inside a host.
fn ip(host: &Host, batch: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = host.spawn(&mut command)?;
    child.stdin.take().context("no pipe to ip")?.write_all(batch.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("setting up {}: {}\n{batch}", host.netns(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
