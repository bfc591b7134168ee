//! UDP: the first datagram, the answer, promotion by the client's second one, and datagrams without a checksum.

use lb_common::flow::state;
use lb_common::net::proto;
use lb_common::reason::Reason;
use lb_tests::packet::case::{check_all, forwards, opens, sends};
use lb_tests::packet::cast::Family;

use crate::row::{A, Row, rows};

#[test]
fn datagrams_both_ways() {
    let case = |row: Row| {
        let case = row.case("ask, answer, ask again", 1);
        let case = case.send("a datagram", row.first(), opens(1, 1, row.out(row.first(), 1, A)));
        let mut case = case.state(state::FRESH).held(row.halves(), 0).active(1, 0);
        if row.is_nat() {
            let answer = row.answer(1, A);
            case = case.send("the answer", answer.clone(), sends(1, Reason::Returned, row.back(answer))).held(2, 0);
        }
        let case = case.send("a second", row.next(), forwards(1, 1, row.out(row.next(), 1, A)));
        let mut case = case.state(state::ESTABLISHED).held(0, row.halves()).active(1, 1);
        if row.is_nat() {
            let answer = row.answer(1, A).payload(&[3; 1400]);
            case = case.send("its answer", answer.clone(), sends(1, Reason::Returned, row.back(answer)));
        }
        case.send("a third", row.next(), forwards(1, 1, row.out(row.next(), 1, A))).active(1, 1)
    };
    check_all("datagrams", &rows(proto::UDP).map(case).collect::<Vec<_>>());
}

#[test]
fn two_datagrams_without_an_answer() {
    let case = |row: Row| {
        row.case("asking twice", 1)
            .send("a datagram", row.first(), opens(1, 1, row.out(row.first(), 1, A)))
            .send("a second", row.next(), forwards(1, 1, row.out(row.next(), 1, A)))
            .held(0, row.halves())
            .active(1, 1)
    };
    check_all("asking twice", &rows(proto::UDP).map(case).collect::<Vec<_>>());
}

#[test]
fn no_checksum_stays_none() {
    let case = |row: Row| {
        let first = row.first().unsummed();
        let mut case = row.case("no checksum", 1).send("a datagram", first.clone(), opens(1, 1, row.out(first, 1, A)));
        if row.is_nat() {
            let answer = row.answer(1, A).unsummed();
            case = case.send("the answer", answer.clone(), sends(1, Reason::Returned, row.back(answer)));
        }
        case
    };
    check_all("no checksum", &rows(proto::UDP).filter(|r| r.family == Family::V4).map(case).collect::<Vec<_>>());
}

#[test]
fn empty_datagrams() {
    let case = |row: Row| {
        let empty = row.first().payload(b"");
        row.case("empty datagram", 1).send("a datagram", empty.clone(), opens(1, 1, row.out(empty, 1, A)))
    };
    check_all("empty datagrams", &rows(proto::UDP).map(case).collect::<Vec<_>>());
}

/// The sum over a datagram can come out as zero, which is then sent as all ones (RFC 768). Every value of two payload
/// bytes is tried, so that the sum passes through zero on the way in and on the way out.
#[test]
fn a_sum_of_zero_is_sent_as_all_ones() {
    use lb_tests::packet::shelf;
    let row = Row { family: Family::V4, protocol: proto::UDP, how: lb_common::service::forward::NAT };
    let program = shelf::borrow(&row.world(1));
    let mut ones = 0;
    for n in 0..=u16::MAX {
        let ran = program.run(&row.first().payload(&n.to_be_bytes()).encode()).expect("runs");
        lb_tests::packet::sums::verify(&ran.frame).unwrap_or_else(|e| panic!("payload {n:#06x}: {e}"));
        let check = [ran.frame[40], ran.frame[41]];
        assert_ne!(check, [0, 0], "payload {n:#06x}: a checksum of zero says that there is none");
        ones += u32::from(check == [0xff, 0xff]);
    }
    assert!(ones > 0, "the sum never came out as zero");
}
