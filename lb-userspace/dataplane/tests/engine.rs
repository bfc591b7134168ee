//! The engine on real interfaces of a network namespace of its own: attached, killed, taken over, taken off. Needs root.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lb_common::backend::{Load, flag};
use lb_common::flow::{Flow, FlowKey4, seen, side, state};
use lb_common::net::{Addr, Be16};
use lb_common::reason::Reason;
use lb_common::time::ticks_of_millis;
use lb_dataplane::ebpf::{EbpfPlane, Mode, clock, pins};
use lb_dataplane::plan::Ends;
use lb_dataplane::{Change, Condition, DataPlane, FlowQuery, Member, PlaneError, PlanePool, Probe};
use lb_model::{Algorithm, BackendAddress, Host, Name, Protocol, Service, Weight};

/// A namespace for this test's thread: `lb0` with a neighbour behind `far0`. Everything goes with the thread, but pins.
struct Place {
    host: Host,
}

fn sh(line: &str) {
    let status = Command::new("sh").args(["-c", line]).status().expect("sh runs");
    assert!(status.success(), "{line}");
}

impl Place {
    fn new(tag: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test attaches XDP programs: run it as root");
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace");
        sh(
            "ip link add lb0 type veth peer name far0 && ip link set lo up && ip link set lb0 up && ip link set far0 up \
            && ip addr add 10.9.0.1/24 dev lb0 && ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev lb0 nud permanent",
        );
        let unique = format!("{tag}{}", std::process::id());
        let host = Host {
            interfaces: vec!["lb0".into()],
            flow_table_size: 4096,
            pin_dir: PathBuf::from(format!("/sys/fs/bpf/lb_{unique}")),
            state_dir: std::env::temp_dir().join(format!("lb-{unique}")),
            ..Host::default()
        };
        Self { host }
    }

    fn start(&self) -> EbpfPlane {
        EbpfPlane::start(&self.host, Mode::Native).expect("veth runs XDP in the driver")
    }

    /// Numbers of the programs on `lb0`, as the kernel shows them.
    fn program(&self) -> Option<u32> {
        let mut netlink = lb_dataplane::ebpf::netlink::Netlink::open().expect("netlink");
        let links = netlink.links().expect("links");
        links.into_iter().find(|l| l.name == "lb0").and_then(|l| l.xdp_native)
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

fn plan(backends: &[&str]) -> Vec<Change> {
    let member = |ip: &&str| {
        let ip: IpAddr = ip.parse().expect("an address");
        Member {
            configured: BackendAddress::Ip { ip, port: Some(8080) },
            ip,
            port: Some(8080),
            weight: Weight::ONE,
            eligible: true,
            condition: Condition::Up,
        }
    };
    let pool = PlanePool {
        name: name("web"),
        algorithm: Algorithm::Maglev,
        maglev_table_size: 251,
        members: backends.iter().map(member).collect(),
    };
    let service = Service::new(name("web"), "192.0.2.1:80/tcp".parse().expect("a listen"), name("web"));
    vec![Change::PutPool(pool), Change::PutService(service)]
}

fn probe() -> Probe {
    let socket = |s: &str| s.parse().expect("a socket address");
    Probe { ends: Ends { client: socket("198.51.100.7:5000"), vip: socket("192.0.2.1:80") }, protocol: Protocol::Tcp }
}

/// Both halves of a NAT flow, as the kernel would have entered them `idle` ago.
fn flow(idle: Duration) -> [(FlowKey4, Flow); 2] {
    let addr = |s: &str| Addr::from(s.parse::<IpAddr>().expect("an address"));
    let port = Be16::from_host;
    let (client, vip, ours, theirs) = (addr("198.51.100.7"), addr("192.0.2.1"), addr("10.9.0.1"), addr("10.9.0.2"));
    let stamp = clock::ticks().wrapping_sub(ticks_of_millis(idle.as_millis() as u64));
    let half = Flow {
        packets: 3,
        bytes: 180,
        last_seen: stamp,
        created: stamp,
        backend: 1,
        service: 1,
        state: state::ESTABLISHED,
        vip_port: port(80),
        ..Flow::default()
    };
    let key = |src: Addr, dst: Addr, src_port, dst_port| FlowKey4 {
        src: src.as_v4(),
        dst: dst.as_v4(),
        src_port: port(src_port),
        dst_port: port(dst_port),
        protocol: 6,
    };
    let forward = Flow { side: side::FORWARD, peer: ours, peer_port: port(2000), seen: seen::COUNTED, ..half };
    let reply = Flow { side: side::REPLY, peer: client, peer_port: port(5000), ..half };
    [(key(client, vip, 5000, 80), forward), (key(theirs, ours, 8080, 2000), reply)]
}

fn enter(plane: &mut EbpfPlane, halves: &[(FlowKey4, Flow)]) {
    for (key, flow) in halves {
        plane.maps_mut().flows4.map.insert(key, flow, 0).expect("room");
    }
    let load = plane.maps_mut().loads.get(&1, 0).expect("a load");
    plane.maps_mut().loads.set(1, Load { opened: load.opened + 1, ..load }, 0).expect("written");
}

fn active(plane: &EbpfPlane) -> u64 {
    plane.counters().services[&name("web")].active_flows
}

/// The time that the engine is told.
struct Clock(Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the test is the edge where time comes from")]
    fn new() -> Self {
        Self(Instant::now())
    }

    /// Ticks, eleven seconds apart, until `done`; at most so many times.
    fn until(&mut self, plane: &mut EbpfPlane, done: impl Fn(&mut EbpfPlane) -> bool) -> bool {
        (0..50).any(|_| {
            self.0 += Duration::from_secs(11);
            plane.tick(self.0);
            done(plane)
        })
    }
}

#[test]
fn the_next_one_takes_over_flows_and_counters() {
    let place = Place::new("adopt");
    let mut first = place.start();
    first.apply(&plan(&["10.9.0.2"])).expect("the plan");
    enter(&mut first, &flow(Duration::ZERO));
    let program = place.program().expect("attached");
    assert_eq!((active(&first), first.flows(&FlowQuery::default()).len()), (1, 1));
    drop(first); // as if killed: nothing was released

    assert_eq!(place.program(), Some(program), "still forwarding");
    let mut second = place.start();
    assert!(second.notes().iter().any(|n| n.contains("took over")), "{:?}", second.notes());
    let swapped = place.program().expect("attached");
    assert_ne!(swapped, program, "a fresh program on the same link");
    let reachable =
        |p: &mut EbpfPlane| p.maps_mut().backends.get(&1, 0).expect("a backend").flags & flag::REACHABLE != 0;
    assert!(reachable(&mut second), "and the backend stays reachable meanwhile");
    second.apply(&plan(&["10.9.0.2"])).expect("the plan");
    assert!(reachable(&mut second));
    assert_eq!(active(&second), 1);
    let shown = second.flows(&FlowQuery { service: Some(name("web")), limit: None });
    assert_eq!((shown[0].backend.to_string(), shown[0].packets), ("10.9.0.2:8080".into(), 3));

    let said = Box::new(second).release(false).expect("released");
    assert!(said.contains("detached") && place.program().is_none() && !place.host.pin_dir.exists(), "{said}");
}

#[test]
fn what_the_new_plan_does_not_have_is_taken_out() {
    let place = Place::new("left");
    let mut first = place.start();
    let mut changes = plan(&["10.9.0.2", "10.9.0.3"]);
    let mut other = Service::new(name("dns"), "192.0.2.2:53/udp".parse().expect("a listen"), name("web"));
    other.deny = vec!["10.0.0.0/8".parse().expect("a prefix")];
    changes.push(Change::PutService(other));
    first.apply(&changes).expect("the plan");
    let said = Box::new(first).release(true).expect("released");
    assert!(said.contains("lb detach") && said.contains("lb0"), "{said}");

    let mut second = place.start();
    second.apply(&plan(&["10.9.0.2"])).expect("the plan");
    let maps = second.maps_mut();
    assert_eq!((maps.services4.keys().count(), maps.ranges.keys().count()), (1, 0));
    assert_eq!(maps.backends.get(&2, 0).expect("a backend").flags & flag::EXISTS, 0);
    assert!(maps.addresses.get(&Addr::from("192.0.2.2".parse::<IpAddr>().expect("an address")), 0).is_err());
}

#[test]
fn another_layout_is_rebuilt_and_said() {
    let place = Place::new("rebuild");
    let mut first = place.start();
    first.apply(&plan(&["10.9.0.2"])).expect("the plan");
    enter(&mut first, &flow(Duration::ZERO));
    drop(first);
    let bigger = Host { flow_table_size: 8192, ..place.host.clone() };
    let second = EbpfPlane::start(&bigger, Mode::Native).expect("started");
    assert!(second.notes().iter().any(|n| n.contains("rebuilt") && n.contains("FLOWS4")), "{:?}", second.notes());
    assert_eq!(second.flows(&FlowQuery::default()).len(), 0);
}

#[test]
fn idle_flows_age_out_and_numbers_come_back() {
    let place = Place::new("age");
    let mut plane = place.start();
    let mut clock = Clock::new();
    plane.apply(&plan(&["10.9.0.2"])).expect("the plan");
    enter(&mut plane, &flow(Duration::from_secs(400)));
    assert_eq!(active(&plane), 1);
    assert!(clock.until(&mut plane, |p| p.flows(&FlowQuery::default()).is_empty()), "400 s exceed idle_timeout");
    assert_eq!((active(&plane), plane.maps_mut().flows4.map.keys().count()), (0, 0), "both halves are gone");
    assert_eq!(plane.maps_mut().reaped.get(&1, 0).expect("a count"), 1);

    // One half is idle, the other is not: a flow with traffic one way only.
    let [forward, _] = flow(Duration::ZERO);
    let [_, reply] = flow(Duration::from_secs(400));
    enter(&mut plane, &[forward, reply]);
    assert!(!clock.until(&mut plane, |p| p.maps_mut().flows4.map.keys().count() < 2), "neither half may go");

    // The backend goes; its number is kept while the flow lives and is free after it.
    plane.apply(&plan(&["10.9.0.3"])).expect("the plan");
    assert!(
        !clock.until(&mut plane, |p| p.maps_mut().backends.get(&1, 0).expect("a backend").addr == Addr::UNSPECIFIED)
    );
    for (key, half) in flow(Duration::from_secs(400)) {
        plane.maps_mut().flows4.map.insert(key, half, 0).expect("room");
    }
    assert!(
        clock.until(&mut plane, |p| p.maps_mut().backends.get(&1, 0).expect("a backend").addr == Addr::UNSPECIFIED)
    );
}

#[test]
fn lost_counts_are_put_right() {
    let place = Place::new("drift");
    let mut plane = place.start();
    let mut clock = Clock::new();
    plane.apply(&plan(&["10.9.0.2"])).expect("the plan");
    enter(&mut plane, &flow(Duration::ZERO));
    plane.maps_mut().loads.set(1, Load { opened: 5, closed: 1 }, 0).expect("written");
    assert_eq!(active(&plane), 4);
    assert!(clock.until(&mut plane, |p| active(p) == 1), "one flow is in the table");
}

#[test]
fn the_way_to_a_backend_is_explained() {
    let place = Place::new("hop");
    let mut plane = place.start();
    let mut clock = Clock::new();
    plane.apply(&plan(&["10.9.0.2"])).expect("the plan");
    let e = plane.explain(&probe());
    assert_eq!((e.reason, e.backend.map(|b| b.to_string())), (Reason::Forwarded, Some("10.9.0.2:8080".into())));
    assert!(e.next_hop.as_ref().is_some_and(|h| h.contains("02:00:00:00:00:02")), "{e:?}");
    assert!(e.slot.is_some() && e.steps.len() >= 5, "{e:?}");
    let snat = plane.maps_mut().snat.get(&0, 0).expect("a source");
    assert_eq!(IpAddr::from(snat), "10.9.0.1".parse::<IpAddr>().expect("an address"), "the host's own");

    sh("ip neigh replace 10.9.0.2 lladdr 02:00:00:00:00:77 dev lb0 nud permanent");
    let follows = |p: &mut EbpfPlane| p.maps_mut().backends.get(&1, 0).expect("a backend").dst_mac[5] == 0x77;
    assert!(clock.until(&mut plane, follows), "the neighbour's new MAC");
    sh("ip neigh del 10.9.0.2 dev lb0");
    let lost = |p: &mut EbpfPlane| p.explain(&probe()).reason == Reason::NoNeighbour;
    assert!(clock.until(&mut plane, lost), "and that it is gone");

    plane.apply(&plan(&["127.0.0.1"])).expect("the plan");
    let e = plane.explain(&probe());
    assert_eq!(e.reason, Reason::NoNeighbour);
    assert!(e.steps.iter().any(|s| s.why.contains("this host")), "{e:?}");
}

#[test]
fn an_interface_that_comes_back_is_attached_again() {
    let place = Place::new("again");
    let mut plane = place.start();
    let mut clock = Clock::new();
    plane.apply(&plan(&["10.9.0.2"])).expect("the plan");
    sh("ip link del lb0");
    assert!(clock.until(&mut plane, |p| p.interfaces()[0].mode == "none"), "said to be gone");
    sh("ip link add lb0 type veth peer name far0 && ip link set lb0 up && ip link set far0 up \
        && ip addr add 10.9.0.1/24 dev lb0 && ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev lb0 nud permanent");
    assert!(clock.until(&mut plane, |p| p.interfaces()[0].mode == "native"), "{:?}", plane.interfaces());
    assert!(place.program().is_some());
    assert!(clock.until(&mut plane, |p| p.explain(&probe()).reason == Reason::Forwarded));
}

#[test]
fn a_strangers_program_is_left_alone() {
    let place = Place::new("strange");
    let stranger = Place {
        host: Host {
            pin_dir: place.host.pin_dir.with_file_name(format!("lb_other{}", std::process::id())),
            ..place.host.clone()
        },
    };
    let held = stranger.start();
    let theirs = stranger.program().expect("attached");
    let refused = EbpfPlane::start(&place.host, Mode::Native);
    assert!(
        matches!(&refused, Err(PlaneError::Unavailable { why, .. }) if why.contains(&theirs.to_string()) && why.contains("lb_xdp")),
        "{refused:?}"
    );
    assert_eq!(place.program(), Some(theirs));
    assert!(!place.host.pin_dir.join("FLOWS4").exists(), "nothing is left of the attempt");
    drop(held);
}

#[test]
fn two_do_not_share_their_pins() {
    let place = Place::new("claim");
    let first = place.start();
    let said = |e: PlaneError| e.to_string();
    assert!(EbpfPlane::start(&place.host, Mode::Native).map_err(said).is_err_and(|e| e.contains("another lb")));
    assert!(pins::detach(&place.host.pin_dir).map_err(said).is_err_and(|e| e.contains("another lb")));
    assert!(place.program().is_some());
    drop(first);
    assert_eq!(pins::detach(&place.host.pin_dir).expect("detached"), Some(1));
    assert_eq!(pins::detach(&place.host.pin_dir).expect("nothing"), None);
}

#[test]
fn pins_need_a_bpf_file_system() {
    assert!(
        matches!(pins::prepare(Path::new("/tmp/lb")), Err(PlaneError::Unavailable { why, .. }) if why.contains("/sys/fs/bpf"))
    );
    assert!(
        matches!(pins::prepare(Path::new("/sys/fs/bpf/a.b")), Err(PlaneError::Unavailable { why, .. }) if why.contains("dots"))
    );
}
