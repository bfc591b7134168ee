//! One million NAT flows at once, in a network namespace of its own: opened through the loaded program packet by packet,
//! in tables whose memory was reserved before; and then listing them, counting them and ageing them still work.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use lb_dataplane::ebpf::{EbpfPlane, LoadOptions, Loaded, Mode, NatPorts, pins};
use lb_dataplane::{Change, Condition, DataPlane, FlowQuery, Member, PlanePool};
use lb_model::{Algorithm, BackendAddress, Host, Name, Service, Weight};
use lb_tests::packet::cast::{BALANCER, ROUTER};
use lb_tests::packet::layers::{self, Frame};

const FLOWS: u32 = 1_000_000;
/// Each of so many clients opens 50,000 flows, half of the clients by TCP.
const CLIENTS: u32 = 20;
const BACKENDS: u8 = 100;
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Where things stand in an untagged IPv4 frame without options.
const SRC: usize = 26;
const DST: usize = 30;
const PORTS: usize = 34;

/// A namespace of this thread's own, with neighbours that are written down, and pins that go when it is dropped.
struct Place {
    host: Host,
}

impl Place {
    fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test attaches an XDP program: run it as root");
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace");
        sh(
            "ip link add lb0 type veth peer name far0 && ip link set lo up && ip link set lb0 up && ip link set far0 up \
            && ip addr add 10.9.0.1/24 dev lb0",
        );
        for n in 0..BACKENDS {
            let ip = backend(n);
            sh(&format!("ip neigh add {ip} lladdr 02:00:00:00:01:{n:02x} dev lb0 nud permanent"));
        }
        let unique = format!("million{}", std::process::id());
        let host = Host {
            interfaces: vec!["lb0".into()],
            flow_table_size: FLOWS,
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

fn sh(line: &str) {
    let status = Command::new("sh").args(["-c", line]).status().expect("sh runs");
    assert!(status.success(), "{line}");
}

fn backend(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, 100 + n)
}

fn name(s: &str) -> Name {
    s.parse().expect("a name")
}

fn service(protocol: &str, idle: Duration) -> Service {
    let listen = format!("{VIP}:80/{protocol}").parse().expect("a listen");
    Service { idle_timeout: idle, ..Service::new(name(protocol), listen, name("web")) }
}

fn plan() -> Vec<Change> {
    let member = |n: u8| {
        let ip = IpAddr::V4(backend(n));
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
        maglev_table_size: 65_537,
        members: (0..BACKENDS).map(member).collect(),
    };
    let long = Duration::from_secs(3600);
    vec![Change::PutPool(pool), Change::PutService(service("tcp", long)), Change::PutService(service("udp", long))]
}

/// A packet of the client, its address and port still to be filled in. The program updates checksums and does not
/// verify them, so that what is filled in may leave them wrong.
fn template(shape: impl Fn(Frame) -> Frame) -> Vec<u8> {
    shape(layers::ip(ROUTER, BALANCER, Ipv4Addr::UNSPECIFIED.into(), VIP.into())).encode()
}

/// The client's and the backend's part in opening a million flows.
struct Opener {
    loaded: Loaded,
    syn: Vec<u8>,
    ack: Vec<u8>,
    datagram: Vec<u8>,
    answer: Vec<u8>,
}

const DROP: u32 = 1;
const PASS: u32 = 2;

impl Opener {
    fn new(host: &Host) -> Self {
        let options = LoadOptions {
            flow_table_size: FLOWS,
            nat_ports: NatPorts::of_host(),
            pins: Some(&host.pin_dir),
            ..LoadOptions::default()
        };
        Self {
            // The same program once more, over the maps that the engine has pinned: this copy is run, that one attached.
            loaded: Loaded::load(&options).expect("the program loads over the pinned maps"),
            syn: template(|f| f.tcp(0, 80, "S")),
            ack: template(|f| f.tcp(0, 80, "A")),
            datagram: template(|f| f.udp(0, 80, b"ask")),
            answer: template(|f| f.tcp(8080, 0, "SA")),
        }
    }

    /// Runs a packet that has to be sent on; returns it as sent.
    fn sent(&self, frame: &[u8]) -> Vec<u8> {
        let out = self.loaded.run(frame, None).expect("runs");
        assert!(out.action != DROP && out.action != PASS, "action {} for {frame:02x?}", out.action);
        out.packet
    }

    fn tcp(&mut self, client: Ipv4Addr, port: u16) {
        for frame in [&mut self.syn, &mut self.ack] {
            fill(frame, client, port);
        }
        let out = self.sent(&self.syn);
        // The backend turns the ends round.
        self.answer[SRC..SRC + 4].copy_from_slice(&out[DST..DST + 4]);
        self.answer[DST..DST + 4].copy_from_slice(&out[SRC..SRC + 4]);
        self.answer[PORTS..PORTS + 2].copy_from_slice(&out[PORTS + 2..PORTS + 4]);
        self.answer[PORTS + 2..PORTS + 4].copy_from_slice(&out[PORTS..PORTS + 2]);
        let back = self.sent(&self.answer);
        assert_eq!((&back[DST..DST + 4], &back[PORTS + 2..PORTS + 4]), (&client.octets()[..], &port.to_be_bytes()[..]));
        self.sent(&self.ack);
    }

    fn udp(&mut self, client: Ipv4Addr, port: u16) {
        fill(&mut self.datagram, client, port);
        self.sent(&self.datagram);
        self.sent(&self.datagram);
    }
}

fn fill(frame: &mut [u8], client: Ipv4Addr, port: u16) {
    frame[SRC..SRC + 4].copy_from_slice(&client.octets());
    frame[PORTS..PORTS + 2].copy_from_slice(&port.to_be_bytes());
}

#[expect(clippy::disallowed_methods, reason = "how long things take is what is measured")]
fn now() -> Instant {
    Instant::now()
}

/// Housekeeping until something holds, at the pace of the product.
fn until(plane: &mut EbpfPlane, what: &str, mut holds: impl FnMut(&EbpfPlane) -> bool) {
    let start = now();
    let mut longest = Duration::ZERO;
    while !holds(plane) {
        assert!(start.elapsed() < Duration::from_secs(240), "{what}: not within four minutes");
        let began = now();
        plane.tick(began);
        longest = longest.max(began.elapsed());
        rest();
    }
    println!("{what} after {:.1} s, the longest step {longest:?}", start.elapsed().as_secs_f64());
}

#[expect(clippy::disallowed_methods, reason = "steps come at a pace, as in the product")]
fn rest() {
    std::thread::sleep(Duration::from_millis(2));
}

#[test]
fn a_million_flows_at_once() {
    let place = Place::new();
    let mut plane = EbpfPlane::start(&place.host, Mode::Native).expect("veth runs XDP in the driver");
    plane.apply(&plan()).expect("the plan is published");
    let reserved = plane.counters().memory_bytes;

    let mut opener = Opener::new(&place.host);
    let start = now();
    for i in 0..FLOWS {
        let (client, port) = (i % CLIENTS, 1024 + (i / CLIENTS) as u16);
        let ip = Ipv4Addr::new(198, 18, 0, client as u8);
        if client % 2 == 0 { opener.tcp(ip, port) } else { opener.udp(ip, port) }
    }
    println!("{FLOWS} flows opened in {:.1} s", start.elapsed().as_secs_f64());

    let counters = plane.counters();
    assert_eq!(counters.memory_bytes, reserved, "memory is reserved up front");
    println!("memory: {} MiB", reserved >> 20);
    let total = |plane: &EbpfPlane| plane.counters().services.values().map(|s| s.flows_total).sum::<u64>();
    assert_eq!(total(&plane), u64::from(FLOWS));
    let dropped: u64 = counters.services.values().flat_map(|s| s.dropped.values()).sum();
    assert_eq!(dropped, 0, "{:?}", counters.services);

    // Listing: the first few at once, and all.
    let start = now();
    assert_eq!(plane.flows(&FlowQuery { limit: Some(100), ..FlowQuery::default() }).len(), 100);
    let few = start.elapsed();
    let all = plane.flows(&FlowQuery::default());
    println!("100 flows listed in {few:?}, {} in {:?}", all.len(), start.elapsed());
    assert_eq!(all.len(), FLOWS as usize);
    assert!(all.iter().all(|f| f.state == "established"));
    drop(all);
    assert!(few < Duration::from_secs(1), "the first hundred took {few:?}");

    // Counting and ageing: a pass over all of them leaves them, a shorter timeout takes them away.
    let active = |p: &EbpfPlane| p.counters().services.values().map(|s| s.active_flows).sum::<u64>();
    until(&mut plane, "all flows counted", |p| active(p) == u64::from(FLOWS));
    assert_eq!(plane.counters().flows, u64::from(FLOWS));
    let backends: u64 = plane.counters().backends.values().map(|b| b.active_flows).sum();
    assert_eq!(backends, u64::from(FLOWS));
    let short = Duration::from_millis(1);
    let changes = ["tcp", "udp"].map(|p| Change::PutService(service(p, short)));
    plane.apply(&changes).expect("a shorter timeout");
    until(&mut plane, "all flows aged out", |p| p.counters().flows == 0 && active(p) == 0);
    assert!(plane.flows(&FlowQuery::default()).is_empty());
    assert_eq!(total(&plane), u64::from(FLOWS), "totals do not fall");
    println!("{}", Box::new(plane).release(false).expect("taken off"));
}
