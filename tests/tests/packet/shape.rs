//! Packets of unusual but lawful shape are carried as they are: tags, options, extension headers, padding, wrong sums.

use lb_common::reason::Reason;
use lb_tests::packet::case::{Case, check_all, opens, pass, sends};
use lb_tests::packet::cast::Family;
use lb_tests::packet::layers::{Edit, Extension, Frame};
use lb_tests::packet::shelf;

use crate::row::{A, BACKEND_PORT, CLIENT_PORT, Row, all, nat};

/// A flow whose packets, both ways, are shaped by `shape`.
fn shaped(row: Row, what: &str, shape: impl Fn(Frame) -> Frame) -> Case {
    let first = shape(row.first());
    let case = row.case(what, 1).send("a packet", first.clone(), opens(1, 1, row.out(first, 1, A)));
    if !row.is_nat() {
        return case;
    }
    let answer = shape(row.answer(1, A));
    case.send("the answer", answer.clone(), sends(1, Reason::Returned, row.back(answer)))
}

#[test]
fn vlan_tags_stay() {
    let mut cases = Vec::new();
    for row in all() {
        cases.push(shaped(row, "one tag", |f| f.vlan(100)));
        cases.push(shaped(row, "two tags", |f| f.service_vlan(7).vlan(100)));
        cases.push(shaped(row, "two tags of one kind", |f| f.vlan(7).vlan(4095 - 1)));
        cases.push(row.case("three tags", 1).send(
            "a packet",
            row.first().vlan(1).vlan(2).vlan(3),
            pass(Reason::NotOurs),
        ));
    }
    check_all("VLAN", &cases);
}

#[test]
fn ip_headers_are_kept() {
    let mut cases = Vec::new();
    for row in all() {
        cases.push(shaped(row, "type of service", |f| f.tos(0xb8 | 1)));
        cases.push(shaped(row, "time to live of 1", |f| f.ttl(1)));
        if row.family == Family::V4 {
            // No-operation, end of list; record route; the longest there is.
            cases.push(shaped(row, "options", |f| f.options(&[1, 1, 1, 0])));
            cases.push(shaped(row, "more options", |f| f.options(&[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])));
            cases.push(shaped(row, "40 bytes of options", |f| f.options(&[1; 40])));
        } else {
            let empty = || vec![1, 4, 0, 0, 0, 0];
            let chains: [(&str, Vec<Extension>); 6] = [
                ("hop-by-hop", vec![Extension::Plain(0, empty())]),
                ("destination options", vec![Extension::Plain(60, empty())]),
                ("routing, used up", vec![Extension::Plain(43, vec![0, 0, 0, 0, 0, 0])]),
                ("a long destination option", vec![Extension::Plain(60, [&[1, 60][..], &[0; 60]].concat())]),
                ("authentication", vec![Extension::Auth]),
                (
                    "four headers",
                    vec![
                        Extension::Plain(0, empty()),
                        Extension::Plain(60, empty()),
                        Extension::Plain(43, vec![0; 6]),
                        Extension::Plain(60, empty()),
                    ],
                ),
            ];
            for (what, chain) in chains {
                cases.push(shaped(row, what, |f| chain.iter().cloned().fold(f, Frame::extension)));
            }
        }
    }
    check_all("IP headers", &cases);
}

#[test]
fn padding_is_neither_counted_nor_lost() {
    let mut cases: Vec<Case> = all().map(|r| shaped(r, "padded", |f| f.trailer(&[0; 6]))).collect();
    cases.extend(all().map(|r| shaped(r, "padded with rubbish", |f| f.trailer(&[0xee; 46]))));
    check_all("padding", &cases);
}

#[test]
fn sizes() {
    let mut cases = Vec::new();
    for row in all() {
        for size in [0, 1, 2, 3, 511, 1399, 1432] {
            cases.push(shaped(row, &format!("{size} bytes"), |f| f.payload(&vec![0xa5; size])));
        }
    }
    check_all("sizes", &cases);
}

#[test]
fn ports_and_addresses_of_all_kinds() {
    let mut cases = Vec::new();
    for row in all() {
        for port in [16, 80, 1023, 1024, 32_768, 49_151, 65_535] {
            let first = row.first_from(1, port);
            let case = row.case(&format!("client port {port}"), 1);
            let case = case.send("a packet", first.clone(), opens(1, 1, row.out(first, 1, A)));
            cases.push(if row.is_nat() {
                let answer = row.answer(1, A);
                let wanted = row.back(answer.clone()).ports(80, port);
                case.send("the answer", answer, sends(1, Reason::Returned, wanted))
            } else {
                case
            });
        }
    }
    check_all("ports", &cases);
}

/// Updates are incremental: a checksum that was wrong by some amount stays wrong by that amount, and its receiver still
/// sees it.
#[test]
fn a_wrong_sum_stays_wrong() {
    for row in nat() {
        // A world that knows nothing each time, so that the flow is new and gets the same port.
        let run = |frame: &[u8]| shelf::borrow(&row.world(1)).run(frame).expect("runs").frame;
        let right = run(&row.first().encode());
        let at = if row.is_tcp() { 16 } else { 6 };
        let transport = row.first().transport_at() + at;
        let mut spoilt = row.first().encode();
        let sum = u16::from_be_bytes([spoilt[transport], spoilt[transport + 1]]);
        let wrong = (sum ^ 0x0101).to_be_bytes();
        spoilt[transport..transport + 2].copy_from_slice(&wrong);
        let got = run(&spoilt);
        let out = |f: &[u8]| u16::from_be_bytes([f[transport], f[transport + 1]]);
        assert!(lb_tests::packet::sums::verify(&right).is_ok(), "{row:?}");
        assert!(lb_tests::packet::sums::verify(&got).is_err(), "{row:?}: a wrong checksum came out right");
        let error = |was: u16, is: u16| (u32::from(is) + 0xffff - u32::from(was)) % 0xffff;
        assert_eq!(error(sum, u16::from_be_bytes(wrong)), error(out(&right), out(&got)), "{row:?}");
    }
}

#[test]
fn what_is_not_ours_passes() {
    let mut cases = Vec::new();
    for row in all() {
        let f = row.family;
        let mut push = |what: &str, frame: Frame| {
            cases.push(row.case(what, 1).send(what, frame, pass(Reason::NotOurs)).held(0, 0));
        };
        push("another address", row.first().between(f.client(1), f.stranger()));
        push("another port of the VIP", row.first().ports(CLIENT_PORT, 81));
        push(
            "to a source address of NAT, no flow",
            row.first().between(f.backend(1), f.snat(1)).ports(BACKEND_PORT, 20_000),
        );
        push(
            "to a source address, outside NAT's ports",
            row.first().between(f.backend(1), f.snat(1)).ports(BACKEND_PORT, 22),
        );
        push("broken, to another address", row.first().between(f.client(1), f.stranger()).edit(Edit::Cut(14 + 44)));
        let other =
            if row.is_tcp() { row.first().udp(CLIENT_PORT, 80, b"x") } else { row.first().tcp(CLIENT_PORT, 80, "S") };
        push("the other protocol", other);
    }
    check_all("not ours", &cases);
}
