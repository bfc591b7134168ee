//! `explain` says what the kernel then does: both asked over the same maps, in a network namespace of its own. Needs root.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use lb_common::reason::Reason;
use lb_dataplane::ebpf::{EbpfPlane, LoadOptions, Loaded, Mode, NatPorts, pins};
use lb_dataplane::plan::Ends;
use lb_dataplane::{Change, Condition, DataPlane, Explanation, Member, PlanePool, Probe};
use lb_model::service::{Affinity, RateLimit};
use lb_model::{Algorithm, BackendAddress, Host, Name, Protocol, Service, Weight};

const XDP_DROP: u32 = 1;

struct Place {
    host: Host,
}

fn sh(line: &str) {
    let status = Command::new("sh").args(["-c", line]).status().expect("sh runs");
    assert!(status.success(), "{line}");
}

impl Place {
    fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test attaches XDP programs: run it as root");
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace");
        sh(
            "ip link add lb0 type veth peer name far0 && ip link set lo up && ip link set lb0 up && ip link set far0 up \
            && ip addr add 10.9.0.1/24 dev lb0",
        );
        for n in 2..=9 {
            sh(&format!("ip neigh add 10.9.0.{n} lladdr 02:00:00:00:00:{n:02x} dev lb0 nud permanent"));
        }
        let unique = format!("explain{}", std::process::id());
        let host = Host {
            interfaces: vec!["lb0".into()],
            flow_table_size: 4096,
            pin_dir: PathBuf::from(format!("/sys/fs/bpf/lb_{unique}")),
            state_dir: std::env::temp_dir().join(format!("lb-{unique}")),
            ..Host::default()
        };
        Self { host }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = pins::detach(&self.host.pin_dir);
        let _gone = std::fs::remove_dir_all(&self.host.state_dir);
    }
}

fn name(s: &str) -> Name {
    s.parse().expect("a name")
}

/// A service on port 8000 + its place for every algorithm, one with affinity, one that refuses most, one with a rate.
fn plan() -> Vec<Change> {
    let member = |n: u8| {
        let ip = IpAddr::from([10, 9, 0, n]);
        Member {
            configured: BackendAddress::Ip { ip, port: Some(8080) },
            ip,
            port: Some(8080),
            weight: Weight::new(u32::from(n % 3) + 1).expect("a weight"),
            eligible: n != 5,
            condition: Condition::Up,
        }
    };
    let mut out = Vec::new();
    for (i, algorithm) in Algorithm::ALL.into_iter().enumerate() {
        let pool = PlanePool {
            name: name(algorithm.as_str()),
            algorithm,
            maglev_table_size: 251,
            members: (2..=9).map(member).collect(),
        };
        out.push(Change::PutPool(pool));
        out.push(Change::PutService(service(algorithm.as_str(), 8000 + i, algorithm)));
    }
    let mut held = service("held", 8010, Algorithm::RoundRobin);
    held.affinity = Affinity::ClientIp { timeout: Duration::from_secs(60) };
    let mut refuses = service("refuses", 8011, Algorithm::RoundRobin);
    refuses.allow = vec!["198.51.100.0/29".parse().expect("a prefix")];
    refuses.deny = vec!["198.51.100.2/32".parse().expect("a prefix")];
    let mut slow = service("slow", 8012, Algorithm::RoundRobin);
    slow.rate_limit = Some(RateLimit { interval: Duration::from_secs(60), burst: 2 });
    out.extend([held, refuses, slow].map(Change::PutService));
    let nobody =
        PlanePool { name: name("nobody"), algorithm: Algorithm::Maglev, maglev_table_size: 251, members: Vec::new() };
    out.push(Change::PutPool(nobody));
    let mut empty = service("empty", 8013, Algorithm::Maglev);
    empty.pool = name("nobody");
    out.push(Change::PutService(empty));
    out
}

fn service(called: &str, port: usize, algorithm: Algorithm) -> Service {
    let listen = format!("192.0.2.1:{port}/tcp").parse().expect("a listen");
    Service::new(name(called), listen, name(algorithm.as_str()))
}

/// An IPv4 TCP SYN; checksums stay zero, the packet path updates them and does not look.
fn syn(client: [u8; 4], client_port: u16, port: u16) -> Vec<u8> {
    let mut f = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 99, 8, 0];
    f.extend([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
    f.extend(client);
    f.extend([192, 0, 2, 1]);
    f.extend(client_port.to_be_bytes());
    f.extend(port.to_be_bytes());
    f.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    f
}

fn ask(plane: &EbpfPlane, client: [u8; 4], client_port: u16, port: u16) -> Explanation {
    let ends = Ends { client: (client, client_port).into(), vip: ([192, 0, 2, 1], port).into() };
    plane.explain(&Probe { ends, protocol: Protocol::Tcp })
}

#[test]
fn explain_says_what_the_kernel_does() {
    let place = Place::new();
    let mut plane = EbpfPlane::start(&place.host, Mode::Native).expect("started");
    plane.apply(&plan()).expect("the plan");
    let options = LoadOptions {
        flow_table_size: place.host.flow_table_size,
        nat_ports: NatPorts::of_host(),
        pins: Some(&place.host.pin_dir),
        ..LoadOptions::default()
    };
    // The same program once more over the pinned maps: this copy is run, the attached one is not.
    let kernel = Loaded::load(&options).expect("loads");
    let mut reasons = BTreeSet::new();
    for round in 0u16..240 {
        let client = [198, 51, 100, (round % 20) as u8];
        let port = 8000 + round % 15;
        let client_port = 20_000 + round / 3;
        let said = ask(&plane, client, client_port, port);
        let twice = ask(&plane, client, client_port, port);
        assert_eq!(
            (said.reason, said.backend, said.slot),
            (twice.reason, twice.backend, twice.slot),
            "it takes no turn"
        );
        let done = kernel.run(&syn(client, client_port, port), None).expect("runs");
        let what = format!("round {round}, service at {port}: {said:#?}");
        reasons.insert(said.reason);
        match said.reason {
            Reason::Forwarded => {
                assert_ne!(done.action, XDP_DROP, "{what}");
                let to = &done.packet[30..34];
                let to = Ipv4Addr::new(to[0], to[1], to[2], to[3]);
                // By chance is by chance: no backend is promised.
                let random = said.pool.as_ref().is_some_and(|p| p.as_str() == "random") && said.slot.is_none();
                let promised = said.backend.map(|b| b.ip());
                assert!(promised == Some(IpAddr::V4(to)) || (random && promised.is_none()), "sent to {to}; {what}");
                assert_ne!(to, Ipv4Addr::new(10, 9, 0, 5), "it takes no new flows");
            }
            Reason::NotOurs => assert_eq!(done.action, 2, "{what}"),
            _ => assert_eq!(done.action, XDP_DROP, "{what}"),
        }
    }
    let all = [Reason::Forwarded, Reason::NotOurs, Reason::Denied, Reason::RateLimited, Reason::NoBackend];
    assert_eq!(reasons, BTreeSet::from(all), "the table of cases holds them all");
    let counted = plane.counters();
    for (name, reason) in [("refuses", Reason::Denied), ("slow", Reason::RateLimited), ("empty", Reason::NoBackend)] {
        assert!(counted.services[&self::name(name)].dropped[&reason] > 0, "{name}");
    }
}
