//! Malformed and odd packets, each with the verdict and the counter it must have. The kinds are counted.

mod cut;
mod header;
mod link;
mod transport;

use std::collections::BTreeSet;

use lb_common::net::proto;
use lb_common::service::forward;
use lb_tests::packet::case::{Case, Expect, check_all, forwards, opens};
use lb_tests::packet::cast::{BALANCER, Family, backend_mac};
use lb_tests::packet::compare::Moved;
use lb_tests::packet::layers::Frame;
use lb_tests::packet::shelf;
use lb_tests::packet::world::World;

/// Numbers of services of the odd world; 2 is UDP's NAT.
pub(crate) const TCP_NAT: u32 = 1;
pub(crate) const TCP_DSR: u32 = 3;
pub(crate) const UDP_DSR: u32 = 4;
/// Ports of the VIP.
pub(crate) const NAT_PORT: u16 = 80;
pub(crate) const DSR_PORT: u16 = 81;
pub(crate) const PORT: u16 = 40_000;

/// One odd packet.
pub(crate) struct Odd {
    /// What is odd about it, whatever the family.
    pub(crate) kind: String,
    pub(crate) family: Family,
    pub(crate) frame: Frame,
    pub(crate) expect: Expect,
}

pub(crate) fn odd(kind: impl Into<String>, family: Family, frame: Frame, expect: Expect) -> Odd {
    Odd { kind: kind.into(), family, frame, expect }
}

/// Both protocols, both ways of forwarding, one backend; nobody else's packets are touched.
fn world(family: Family) -> World {
    let mut world = World::one(family, proto::TCP, forward::NAT, 1).every_backend(|b| b.port = 0);
    for (protocol, how, port) in [
        (proto::UDP, forward::NAT, NAT_PORT),
        (proto::TCP, forward::DSR, DSR_PORT),
        (proto::UDP, forward::DSR, DSR_PORT),
    ] {
        let mut service = world.services[0].clone();
        (service.protocol, service.forward, service.ports) = (protocol, how, (port, port));
        world.services.push(service);
    }
    world
}

/// Odd, but carried: with DSR nothing but the Ethernet addresses changes.
pub(crate) fn carried(service: u32, frame: &Frame) -> Expect {
    opens(service, 1, frame.clone().link(BALANCER, backend_mac(1)))
}

#[test]
fn odd_packets() {
    let all: Vec<Odd> =
        [cut::kinds(), header::kinds(), link::kinds(), transport::kinds()].into_iter().flatten().collect();
    let kinds: BTreeSet<&str> = all.iter().map(|o| &o.kind[..]).collect();
    println!("{} kinds of malformed or odd packets", kinds.len());
    assert!(kinds.len() >= 60, "only {} kinds", kinds.len());
    let case = |o: &Odd| {
        let entries = usize::from(o.expect.to.is_some());
        let case = Case::new(format!("{:?}: {}", o.family, o.kind), world(o.family));
        case.send(&o.kind, o.frame.clone(), o.expect.clone()).held(entries, 0)
    };
    check_all("odd packets", &all.iter().map(case).collect::<Vec<_>>());
}

/// The same packets in the midst of a flow do it no harm.
#[test]
fn odd_packets_leave_a_flow_alone() {
    let all: Vec<Odd> =
        [cut::kinds(), header::kinds(), link::kinds(), transport::kinds()].into_iter().flatten().collect();
    let mut cases = Vec::new();
    for family in lb_tests::packet::cast::FAMILIES {
        // The flow's client is another than that of the odd packets.
        let of = |flags: &str| family.to_vip().between(family.client(9), family.vip()).tcp(PORT, DSR_PORT, flags);
        let out = |f: Frame| f.link(BALANCER, backend_mac(1));
        let mut case = Case::new(format!("{family:?}: a flow among odd packets"), world(family));
        case = case.send("SYN", of("S"), opens(TCP_DSR, 1, out(of("S"))));
        case = case.send("ACK", of("A"), forwards(TCP_DSR, 1, out(of("A"))));
        for o in all.iter().filter(|o| o.family == family && o.expect.to.is_none()) {
            case = case.send(&o.kind, o.frame.clone(), o.expect.clone());
        }
        cases.push(case.held(0, 1).send("data", of("PA"), forwards(TCP_DSR, 1, out(of("PA")))));
    }
    check_all("a flow among odd packets", &cases);
}

/// Frames shorter than an Ethernet header never reach a program: the kernel refuses to run them.
#[test]
fn less_than_an_ethernet_header() {
    let program = shelf::borrow(&world(Family::V4));
    for n in 1..14 {
        let e = program.run(&vec![0xff; n]).expect_err("the kernel runs a frame without Ethernet header");
        assert_eq!(e.raw_os_error(), Some(nix::libc::EINVAL), "{n} bytes: {e}");
    }
    program.run(&[0xff; 14]).expect("a bare Ethernet header runs");
}

/// No packet that can be made from a good one by cutting it anywhere and flipping any byte makes the program fail: every
/// one gets a verdict, and exactly one.
#[test]
fn every_cut_and_every_flip_gets_one_verdict() {
    for family in lb_tests::packet::cast::FAMILIES {
        let program = shelf::borrow(&world(family));
        let before = program.counts();
        let good = [
            family.to_vip().tcp(PORT, NAT_PORT, "S").tcp_options(&[2, 4, 5, 0xb4]).payload(b"data"),
            family.to_vip().udp(PORT, NAT_PORT, b"data"),
            family.to_vip().vlan(3).icmp(
                3,
                1,
                0,
                lb_tests::packet::layers::Quote::Packet(
                    Box::new(family.to_vip().between(family.vip(), family.client(1)).udp(NAT_PORT, PORT, b"x")),
                    100,
                ),
            ),
        ];
        let mut ran = 0u64;
        let mut run = |bytes: &[u8]| {
            let out = program.run(bytes).expect("runs");
            assert!((1..=4).contains(&out.action), "action {} for {bytes:02x?}", out.action);
            ran += 1;
        };
        for frame in good {
            let bytes = frame.encode();
            (14..=bytes.len()).for_each(|n| run(&bytes[..n]));
            for at in 12..bytes.len() {
                for flip in [0x01, 0x10, 0x80, 0xff] {
                    let mut spoilt = bytes.clone();
                    spoilt[at] ^= flip;
                    run(&spoilt);
                }
            }
        }
        let verdicts: u64 = Moved::between(&before, &program.counts()).verdicts.values().sum();
        assert_eq!(verdicts, ran, "{family:?}: one verdict a packet");
    }
}
