//! Random worlds and random packets that mean something in them, all from one seed.

use std::net::IpAddr;

use lb_common::backend::flag;
use lb_common::net::proto;
use lb_common::service::{algorithm, forward};

use super::cast::{BALANCER, BALANCER_FAR, FAMILIES, FAR, Family, HERE, ROUTER, backend_mac};
use super::layers::{self, Extension, Frame, Quote};
use super::reference::parse::Tuple;
use super::reference::tcp::State;
use super::reference::{Flow, Reference};
use super::world::{Backend, DRAINING, EXPIRED, HEALTHY, Pool, Service, UNHEALTHY, World};

/// SplitMix64 (Steele et al., 2014).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.draw() % n as u64) as usize
    }
    pub fn small(&mut self, n: u8) -> u8 {
        self.below(usize::from(n)) as u8
    }
    /// True so many times in a hundred.
    pub fn percent(&mut self, n: usize) -> bool {
        self.below(100) < n
    }
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.draw() as u8).collect()
    }
}

const HOUR: u64 = 3_600_000_000_000;
const CLIENTS: u8 = 5;

/// The second address that services listen on.
fn vips(f: Family) -> [IpAddr; 2] {
    [f.vip(), f.stranger()]
}

#[must_use]
pub fn world(r: &mut Random) -> World {
    let snat = FAMILIES.iter().flat_map(|f| (1..=3).map(|n| f.snat(n))).collect();
    let nat_ports = if r.percent(25) { (20_000, 1 + u16::from(r.small(8))) } else { (20_000, 10_000) };
    let mut world = World { nat_ports, flows: 4096, snat, services: vec![], pools: vec![], backends: vec![] };
    let mut families = Vec::new();
    for i in 0..2 + r.below(6) {
        let f = r.pick(&FAMILIES);
        let shared: Vec<u32> = (1..=families.len() as u32).filter(|n| families[*n as usize - 1] == f).collect();
        let pool = if !shared.is_empty() && r.percent(30) {
            r.pick(&shared)
        } else {
            families.push(f);
            add_pool(r, &mut world, f)
        };
        let service = service(r, &world, f, pool, 80 + 20 * i as u16);
        world.services.push(service);
    }
    world
}

fn add_pool(r: &mut Random, world: &mut World, f: Family) -> u32 {
    let algorithm = 1 + r.small(6);
    let first = world.backends.len() as u32 + 1;
    let n = 1 + r.below(6) as u32;
    for number in first..first + n {
        let b = backend(r, f, number, algorithm);
        world.backends.push(b);
    }
    world.pools.push(Pool { algorithm, members: (first..first + n).collect(), table_size: 251 });
    world.pools.len() as u32
}

fn backend(r: &mut Random, f: Family, number: u32, algorithm: u8) -> Backend {
    let far = r.percent(30);
    let mut b = Backend {
        ip: f.backend(1 + r.small(8)),
        port: r.pick(&[0, 8080, 8080, 9090]),
        weight: r.pick(&[0, 1, 1, 1, 2, 3, 7]),
        ifindex: if far { FAR } else { HERE },
        mac: backend_mac(number),
        our_mac: if far { BALANCER_FAR } else { BALANCER },
        flags: 0,
        snat: {
            let first = r.small(3);
            (u16::from(first), u16::from(1 + r.small(3 - first)))
        },
    };
    if f == Family::V6 {
        b.snat.0 += 3;
    }
    b.flags = flags(r, algorithm, b.weight);
    b
}

/// A state of health. What `random` draws can only be seen when it is carried, so all its backends can be reached.
fn flags(r: &mut Random, drawn_by: u8, weight: u16) -> u32 {
    let states = [UNHEALTHY, DRAINING, EXPIRED, 0, HEALTHY & !flag::REACHABLE];
    let mut flags =
        if r.percent(70) { HEALTHY } else { r.pick(&states[..if drawn_by == algorithm::RANDOM { 3 } else { 5 }]) };
    if weight == 0 {
        flags &= !flag::ELIGIBLE;
    }
    flags
}

fn service(r: &mut Random, world: &World, f: Family, pool: u32, port: u16) -> Service {
    let drawn = world.pools[pool as usize - 1].algorithm == algorithm::RANDOM;
    let range = |r: &mut Random| {
        let whole = if f == Family::V4 { 32 } else { 128 };
        (f.client(1 + r.small(CLIENTS)), whole - r.small(3), r.percent(50))
    };
    Service {
        vip: r.pick(&vips(f)),
        ports: (port, port + u16::from(r.small(4))),
        protocol: r.pick(&[proto::TCP, proto::UDP]),
        pool,
        forward: r.pick(&[forward::NAT, forward::NAT, forward::DSR]),
        affinity: (!drawn && r.percent(25)).then_some(600),
        idle_seconds: 300,
        mss: r.pick(&[0, 0, 536, 1400]),
        rate: r.percent(15).then(|| (HOUR, 1 + r.draw() % 6)),
        ranges: if r.percent(20) { (0..1 + r.below(3)).map(|_| range(r)).collect() } else { vec![] },
        otherwise: r.percent(60),
    }
}

/// Something happens to a backend: its health, its weight, its next hop.
pub fn change(r: &mut Random, world: &mut World) {
    let at = r.below(world.backends.len());
    let drawn_by = world.pools.iter().find(|p| p.members.contains(&(at as u32 + 1))).map_or(0, |p| p.algorithm);
    let b = &mut world.backends[at];
    if r.percent(30) {
        b.weight = r.pick(&[0, 1, 2, 5]);
    }
    b.flags = if r.percent(30) { EXPIRED } else { flags(r, drawn_by, b.weight) };
}

/// The next packet, as bytes.
pub fn packet(r: &mut Random, known: &Reference) -> Vec<u8> {
    let f = r.pick(&FAMILIES);
    let flows: Vec<&Flow> = known.flows.values().collect();
    let (frame, may_spoil) = match r.below(100) {
        0..35 => (new(r, &known.world), true),
        35..55 if !flows.is_empty() => {
            let flow = r.pick(&flows);
            (again(r, &flow.tuple), true)
        }
        // A backend that says FIN before its connection stands is no backend.
        55..75 if !known.replies.is_empty() => (answer(r, known), false),
        75..88 if !flows.is_empty() => {
            let flow = r.pick(&flows);
            (error(r, flow, &known.world), true)
        }
        88..91 => (echo(r, f), true),
        91..95 => (stray(r, f), true),
        _ => (new(r, &known.world), true),
    };
    let frame = shape(r, frame);
    let mut bytes = frame.encode();
    if may_spoil && r.percent(12) {
        spoil(r, &mut bytes);
    }
    bytes
}

fn spoil(r: &mut Random, bytes: &mut Vec<u8>) {
    if r.percent(40) {
        bytes.truncate(14 + r.below(bytes.len() - 14));
        return;
    }
    for _ in 0..1 + r.below(2) {
        let at = 12 + r.below((bytes.len() - 12).min(80));
        bytes[at] = if r.percent(50) { bytes[at] ^ (1 << r.below(8)) } else { r.draw() as u8 };
    }
}

/// From a client to a service, or nearly.
fn new(r: &mut Random, world: &World) -> Frame {
    let s = r.pick(&world.services);
    let f = if s.vip.is_ipv4() { Family::V4 } else { Family::V6 };
    let inside = s.ports.0 + r.draw() as u16 % (s.ports.1 - s.ports.0 + 1);
    let port = if r.percent(95) { inside } else { s.ports.1 + 1 };
    let tuple = Tuple {
        src: f.client(1 + r.small(CLIENTS)),
        dst: if r.percent(95) { s.vip } else { f.backend(9) },
        src_port: 40_000 + u16::from(r.small(6)),
        dst_port: port,
        protocol: if r.percent(97) { s.protocol } else { r.pick(&[proto::TCP, proto::UDP]) },
    };
    again(r, &tuple)
}

/// A packet of a client's tuple.
fn again(r: &mut Random, t: &Tuple) -> Frame {
    let ip = layers::ip(ROUTER, BALANCER, t.src, t.dst);
    let n = r.below(60);
    let payload = r.bytes(n);
    if t.protocol == proto::UDP {
        let udp = ip.udp(t.src_port, t.dst_port, &payload);
        return if t.src.is_ipv4() && r.percent(10) { udp.unsummed() } else { udp };
    }
    let flags = r.pick(&["S", "S", "S", "A", "A", "A", "PA", "PA", "FA", "R", "RA", "SA", "SF", ""]);
    let tcp = ip.tcp(t.src_port, t.dst_port, flags).seq(r.draw() as u32, r.draw() as u32);
    if flags.contains('S') { tcp.tcp_options(&tcp_options(r)) } else { tcp.payload(&payload) }
}

fn tcp_options(r: &mut Random) -> Vec<u8> {
    let mss = r.pick(&[536u16, 1300, 1400, 1460, 8960]).to_be_bytes();
    let mss = [2, 4, mss[0], mss[1]];
    let timestamps = [8, 10, 1, 2, 3, 4, 0, 0, 0, 0];
    match r.below(5) {
        0 => vec![],
        1 => mss.to_vec(),
        2 => [&mss[..], &[4, 2], &timestamps, &[1, 3, 3, 7]].concat(),
        3 => [&[1, 3, 3, 7], &timestamps[..], &[1, 1], &mss].concat(),
        // At an odd offset: its words lie across those of the checksum.
        _ => [&[1][..], &mss, &[1, 1, 0]].concat(),
    }
}

/// A backend's answer to a flow of NAT, or nearly.
fn answer(r: &mut Random, known: &Reference) -> Frame {
    let all: Vec<(&Tuple, &Tuple)> = known.replies.iter().collect();
    let (reply, client) = r.pick(&all);
    let flow = &known.flows[client];
    let ip = layers::ip(backend_mac(flow.backend), BALANCER, reply.src, reply.dst);
    let port = if r.percent(95) { reply.dst_port } else { reply.dst_port ^ 1 };
    let n = r.below(60);
    let payload = r.bytes(n);
    if reply.protocol == proto::UDP {
        return ip.udp(reply.src_port, port, &payload);
    }
    let flags = match flow.connection.state {
        State::Fresh => r.pick(&["SA", "SA", "SA", "RA", "A"]),
        State::Answered => r.pick(&["SA", "A", "RA"]),
        _ => r.pick(&["A", "PA", "FA", "R", "SA"]),
    };
    let tcp = ip.tcp(reply.src_port, port, flags).seq(r.draw() as u32, r.draw() as u32);
    if flags == "SA" { tcp.tcp_options(&tcp_options(r)) } else { tcp.payload(&payload) }
}

/// An ICMP message that quotes a flow, from either side.
fn error(r: &mut Random, flow: &Flow, world: &World) -> Frame {
    let f = if flow.tuple.src.is_ipv4() { Family::V4 } else { Family::V6 };
    let to_client = flow.reply.is_some() && r.percent(50);
    // As it left us: to the backend, or to the client.
    let left = if to_client { flow.reply.map_or(flow.tuple, Tuple::reversed) } else { flow.tuple.reversed() };
    let mut inner = again(r, &left).ttl(r.small(64)).tos(r.small(255));
    if f == Family::V4 && r.percent(20) {
        inner = inner.options(&[1, 1, 1, 0]);
    }
    let reporter = if r.percent(50) { left.dst } else { f.reporter() };
    let from = if to_client { backend_mac(flow.backend) } else { ROUTER };
    let kind = if f == Family::V4 { r.pick(&[3, 3, 3, 4, 11, 12, 5, 13]) } else { r.pick(&[1, 1, 2, 3, 4, 135, 137]) };
    let to = if r.percent(97) { left.src } else { r.pick(&world.snat) };
    let to = if to.is_ipv4() == left.src.is_ipv4() { to } else { left.src };
    let cut = r.pick(&[28, 36, 48, 60, 200, 200, 200, 10, 0]);
    let (code, word) = (r.small(6), r.draw() as u32 & 0xffff);
    layers::ip(from, BALANCER, reporter, to).icmp(kind, code, word, Quote::Packet(Box::new(inner), cut))
}

fn echo(r: &mut Random, f: Family) -> Frame {
    let to = r.pick(&[f.vip(), f.vip(), f.stranger(), f.snat(1), f.client(9)]);
    let kind = if f == Family::V4 { r.pick(&[8, 8, 0]) } else { r.pick(&[128, 128, 129]) };
    let n = r.below(60);
    let payload = Quote::Bytes(r.bytes(n));
    f.to_vip().between(f.client(1 + r.small(CLIENTS)), to).icmp(kind, 0, r.draw() as u32, payload)
}

/// Other protocols and fragments.
fn stray(r: &mut Random, f: Family) -> Frame {
    let to = r.pick(&[f.vip(), f.vip(), f.snat(1), f.client(9)]);
    let frame = f.to_vip().between(f.client(1), to);
    match r.below(3) {
        0 => {
            let n = r.below(40);
            frame.raw(r.pick(&[2, 4, 41, 47, 50, 51, 59, 89, 132, 255]), &r.bytes(n))
        }
        1 => frame.udp(40_000, 80, &r.bytes(32)).fragment(r.below(200) as u16, r.percent(70)),
        _ => frame.tcp(40_000, 80, "S").fragment(0, true),
    }
}

/// Tags, options, extension headers, padding.
fn shape(r: &mut Random, mut frame: Frame) -> Frame {
    for _ in 0..r.pick(&[0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3]) {
        let id = r.below(4095) as u16;
        frame = if r.percent(70) { frame.vlan(id) } else { frame.service_vlan(id) };
    }
    if frame.is_v4() && r.percent(15) {
        let words = 1 + r.below(10);
        frame = frame.options(&vec![1; words * 4]);
    }
    if !frame.is_v4() && r.percent(20) {
        for _ in 0..r.pick(&[1, 1, 2, 3, 6, 7]) {
            let units = r.pick(&[0usize, 0, 1, 4]);
            let plain = Extension::Plain(r.pick(&[0, 43, 60]), vec![0; 6 + 8 * units]);
            frame = frame.extension(if r.percent(80) { plain } else { Extension::Auth });
        }
    }
    if r.percent(15) {
        let n = 1 + r.below(20);
        frame = frame.trailer(&r.bytes(n));
    }
    frame.ttl(r.draw() as u8).tos(r.draw() as u8)
}
