//! The harness can fail: wrong expectations of every kind are reported, and reported as what they are.

use lb_common::flow::state;
use lb_common::net::proto;
use lb_common::reason::Reason;
use lb_common::service::forward;
use lb_tests::packet::case::{Case, Expect, check, drop, forwards, opens, pass};
use lb_tests::packet::cast::Family;
use lb_tests::packet::layers::Edit;
use lb_tests::packet::sums;

use crate::row::{A, B, CLIENT_PORT, Row};

const ROW: Row = Row { family: Family::V4, protocol: proto::UDP, how: forward::NAT };

fn right() -> Expect {
    opens(1, 1, ROW.out(ROW.first(), 1, A))
}

#[track_caller]
fn fails_saying(case: Case, word: &str) {
    let said = check(&case).expect_err("a wrong expectation went unnoticed");
    assert!(said.contains(word), "the report does not say {word:?}:\n{said}");
    assert!(said.contains(&case.name), "the report does not name its case:\n{said}");
}

fn wrong(expect: Expect, word: &str) {
    fails_saying(ROW.case("a wrong expectation", 1).send("a packet", ROW.first(), expect), word);
}

#[test]
fn what_is_right_passes() {
    check(&ROW.case("a right expectation", 1).send("a packet", ROW.first(), right())).expect("it is right");
}

#[test]
fn a_wrong_verdict_is_seen() {
    wrong(drop(1, Reason::Denied), "denied");
    wrong(pass(Reason::NotOurs), "not_ours");
    wrong(right().redirected(), "redirect");
}

#[test]
fn a_wrong_counter_is_seen() {
    wrong(Expect { service: 2, ..right() }, "service 2");
    wrong(Expect { reason: Reason::Returned, ..right() }, "returned");
    wrong(Expect { to: Some((1, false)), ..right() }, "(1, 31, 0)");
    wrong(Expect { to: Some((2, true)), ..right() }, "backend 2");
    wrong(Expect { to: None, ..right() }, "service 1 (1, 31, 1)");
    wrong(right().also(Reason::FlowTableFull), "flow_table_full");
}

#[test]
fn a_wrong_packet_is_seen() {
    let out = || ROW.out(ROW.first(), 1, A);
    wrong(opens(1, 1, out().payload(b"asK")), "frames differ");
    wrong(opens(1, 1, out().ttl(60)), "frames differ");
    wrong(opens(1, 1, out().link([2, 0, 0, 0, 0, 2], [2; 6])), "frames differ");
    wrong(opens(1, 1, out().ports(A, 8081)), "udp");
    wrong(opens(1, 1, out().between(Family::V4.snat(1), Family::V4.backend(2))), "10.0.1.2");
    wrong(opens(1, 1, out().trailer(&[0])), "bytes");
    // The encoder's checksum, spoilt.
    wrong(opens(1, 1, out().edit(Edit::Transport(6, vec![1, 2]))), "checksum");
}

#[test]
fn a_port_outside_nats_range_is_seen() {
    let mut case = ROW.case("another range", 1).send("a packet", ROW.first(), right());
    // The program is told one range, the runner believes another.
    case.steps.insert(
        0,
        lb_tests::packet::case::Step::Change {
            what: "the runner is misled".into(),
            change: Box::new(|w| w.nat_ports = (50_000, 10)),
        },
    );
    fails_saying(case, "outside its range");
}

#[test]
fn a_port_given_twice_is_seen() {
    // One flow under two names: the runner must not take the second for a free port.
    let case = ROW.case("one flow, two names", 1).send("a packet", ROW.first(), right());
    fails_saying(case.send("again", ROW.next(), forwards(1, 1, ROW.out(ROW.next(), 1, B))), "which flow 1 holds");
}

#[test]
fn wrong_state_is_seen() {
    let case = || ROW.case("state", 1).send("a packet", ROW.first(), right());
    fails_saying(case().state(state::CLOSED), "state");
    fails_saying(case().held(1, 0), "fresh, established");
    fails_saying(case().active(1, 1), "active flows");
}

#[test]
fn a_name_that_stands_for_nothing_is_seen() {
    let answer = ROW.answer(1, A);
    fails_saying(ROW.case("no such flow", 1).send("an answer", answer, pass(Reason::NotOurs)), "stands for nothing");
}

#[test]
fn wrong_sums_are_seen() {
    let frames = [
        ROW.first(),
        Family::V6.to_vip().udp(CLIENT_PORT, 80, b"odd"),
        Family::V4.to_vip().tcp(CLIENT_PORT, 80, "S"),
        Family::V6.to_vip().tcp(CLIENT_PORT, 80, "S").payload(b"x"),
        Family::V4.to_vip().icmp(8, 0, 1, lb_tests::packet::layers::Quote::Bytes(vec![1, 2, 3])),
        Family::V6.to_vip().icmp(128, 0, 1, lb_tests::packet::layers::Quote::Bytes(vec![1, 2, 3])),
    ];
    for frame in frames {
        let good = frame.encode();
        sums::verify(&good).expect("etherparse and we agree");
        // From the first byte that a checksum covers; IPv6 has no checksum over version to hop limit.
        let from = if frame.is_v4() { 14 } else { 14 + 8 };
        for at in from..good.len() {
            let mut spoilt = good.clone();
            spoilt[at] ^= 0x40;
            assert!(sums::verify(&spoilt).is_err(), "byte {at} changed unseen in {frame:?}");
        }
    }
}
