//! ICMP: echo to a VIP is answered; errors about a flow reach its other end, with the quoted packet rewritten.

use lb_common::reason::Reason;
use lb_tests::packet::case::{Case, check_all, drop, pass, sends};
use lb_tests::packet::cast::{BALANCER, FAMILIES, Family, ROUTER, backend_mac};
use lb_tests::packet::layers::{self, Frame, Quote};
use lb_tests::packet::world::World;

use crate::row::{A, BACKEND_PORT, CLIENT_PORT, Row, VIP_PORT, all, established};

fn request(family: Family) -> u8 {
    if family == Family::V4 { 8 } else { 128 }
}

fn reply(family: Family) -> u8 {
    if family == Family::V4 { 0 } else { 129 }
}

#[test]
fn echo() {
    use lb_common::{net::proto, service::forward};
    let mut cases = Vec::new();
    for f in FAMILIES {
        let world = || World::one(f, proto::TCP, forward::NAT, 1);
        for (what, bytes) in [("empty", vec![]), ("odd", vec![7; 33]), ("long", (0..=255).cycle().take(1400).collect())]
        {
            let ask = f.to_vip().icmp(request(f), 0, 0xabcd_0001, Quote::Bytes(bytes));
            let answer = echo_answer(f, &ask);
            cases.push(Case::new(format!("{f:?} {what} echo"), world()).send(
                "ping",
                ask,
                sends(0, Reason::EchoReply, answer),
            ));
        }
        let ask = f.to_vip().icmp(request(f), 0, 1, Quote::Bytes(vec![1, 2, 3, 4])).vlan(9);
        let answer = echo_answer(f, &ask);
        cases.push(Case::new(format!("{f:?} tagged echo"), world()).send(
            "ping",
            ask,
            sends(0, Reason::EchoReply, answer),
        ));
        for (what, to) in [("a source address", f.snat(1)), ("another address", f.stranger())] {
            let ask = f.to_vip().between(f.client(1), to).icmp(request(f), 0, 1, Quote::Bytes(vec![]));
            cases.push(Case::new(format!("{f:?} echo to {what}"), world()).send("ping", ask, pass(Reason::NotOurs)));
        }
        for (what, kind, code) in [("an echo reply", reply(f), 0), ("a request of code 1", request(f), 1)] {
            let frame = f.to_vip().icmp(kind, code, 1, Quote::Bytes(vec![]));
            cases.push(Case::new(format!("{f:?} {what}"), world()).send("icmp", frame, pass(Reason::NotOurs)));
        }
    }
    check_all("echo", &cases);
}

fn echo_answer(f: Family, ask: &Frame) -> Frame {
    let mut answer = ask.clone().link(BALANCER, ROUTER).between(f.vip(), f.client(1));
    if let layers::Body::Icmp(i) = &mut answer.body {
        i.kind = reply(f);
    }
    answer
}

/// The end-around carry: every checksum that a reply can have is passed through.
#[test]
fn echo_sums_carry_around() {
    use lb_common::{net::proto, service::forward};
    use lb_tests::packet::shelf;
    for f in FAMILIES {
        let program = shelf::borrow(&World::one(f, proto::TCP, forward::NAT, 1));
        for n in (0..=u16::MAX).step_by(3) {
            let ask = f.to_vip().icmp(request(f), 0, u32::from(n), Quote::Bytes(n.to_be_bytes().to_vec()));
            let ran = program.run(&ask.encode()).expect("runs");
            lb_tests::packet::sums::verify(&ran.frame).unwrap_or_else(|e| panic!("{f:?} {n:#06x}: {e}"));
        }
    }
}

/// Type, code and second word of errors, by family.
fn errors(f: Family) -> Vec<(&'static str, u8, u8, u32)> {
    match f {
        Family::V4 => vec![
            ("port unreachable", 3, 3, 0),
            ("host unreachable", 3, 1, 0),
            ("fragmentation needed", 3, 4, 1400),
            ("time exceeded", 11, 0, 0),
            ("parameter problem", 12, 0, 0x0800_0000),
        ],
        Family::V6 => vec![
            ("port unreachable", 1, 4, 0),
            ("no route", 1, 0, 0),
            ("packet too big", 2, 0, 1280),
            ("time exceeded", 3, 0, 0),
            ("parameter problem", 4, 0, 6),
        ],
    }
}

/// How many bytes of the packet a quote has: the least allowed, some options of TCP cut, and all of it.
fn cuts(f: Family) -> [usize; 3] {
    let header = if f == Family::V4 { 20 } else { 40 };
    [header + 8, header + 18, 1000]
}

/// The packet that a backend sent, and what the client (or a router on the way) saw of it.
fn sent_by_backend(row: Row) -> (Frame, Frame) {
    let f = row.family;
    let inner = if row.is_nat() { f.to_snat(1) } else { f.to_vip().between(f.vip(), f.client(1)) };
    let inner = if row.is_nat() {
        if row.is_tcp() { inner.tcp(BACKEND_PORT, A, "PA") } else { inner.udp(BACKEND_PORT, A, b"") }
    } else if row.is_tcp() {
        inner.tcp(VIP_PORT, CLIENT_PORT, "PA")
    } else {
        inner.udp(VIP_PORT, CLIENT_PORT, b"")
    };
    let inner = inner.payload(b"an answer that did not arrive").ttl(50);
    let seen = inner.clone().between(f.vip(), f.client(1)).ports(VIP_PORT, CLIENT_PORT);
    (inner, seen)
}

#[test]
fn errors_from_the_clients_side_reach_the_backend() {
    let mut cases = Vec::new();
    for row in all() {
        let f = row.family;
        for (what, kind, code, word) in errors(f) {
            for cut in cuts(f) {
                for reporter in [f.client(1), f.reporter()] {
                    let (sent, seen) = sent_by_backend(row);
                    let quote = |frame| Quote::Packet(Box::new(frame), cut);
                    let error = f.to_vip().between(reporter, f.vip()).icmp(kind, code, word, quote(seen));
                    let mut wanted = error.clone().link(BALANCER, backend_mac(1));
                    if row.is_nat() {
                        wanted = wanted.between(reporter, f.backend(1)).icmp(kind, code, word, quote(sent));
                    }
                    let case = established(row, row.case(&format!("{what}, {cut} bytes, of {reporter}"), 1));
                    cases.push(case.send("the error", error, sends(1, Reason::IcmpForwarded, wanted)));
                }
            }
        }
    }
    check_all("errors to the backend", &cases);
}

#[test]
fn errors_from_the_backends_side_reach_the_client() {
    let mut cases = Vec::new();
    for row in all().filter(|r| r.is_nat()) {
        let f = row.family;
        for (what, kind, code, word) in errors(f) {
            for cut in cuts(f) {
                for reporter in [f.backend(1), f.reporter()] {
                    let sent = row.next().payload(b"a question that did not arrive").ttl(50);
                    let seen = row.out(sent.clone(), 1, A);
                    let quote = |frame| Quote::Packet(Box::new(frame), cut);
                    let error = f.to_snat(1).between(reporter, f.snat(1)).icmp(kind, code, word, quote(seen));
                    // The backend's own address is not shown; a router's is.
                    let source = if reporter == f.backend(1) { f.vip() } else { reporter };
                    let wanted = error.clone().link(BALANCER, ROUTER).between(source, f.client(1));
                    let wanted = wanted.icmp(kind, code, word, quote(sent));
                    let case = established(row, row.case(&format!("{what}, {cut} bytes, of {reporter}"), 1));
                    cases.push(case.send("the error", error, sends(1, Reason::IcmpForwarded, wanted)));
                }
            }
        }
    }
    check_all("errors to the client", &cases);
}

#[test]
fn errors_about_nothing_we_know_pass() {
    let mut cases = Vec::new();
    for row in all() {
        let f = row.family;
        let (_, seen) = sent_by_backend(row);
        let error = |inner: Frame, cut: usize| {
            let (_, kind, code, word) = errors(f)[0];
            f.to_vip().between(f.reporter(), f.vip()).icmp(kind, code, word, Quote::Packet(Box::new(inner), cut))
        };
        let mut push = |what: &str, frame: Frame| {
            let case = established(row, row.case(what, 1));
            cases.push(case.send(what, frame, pass(Reason::UnknownQuote)));
        };
        push("an error about another port", error(seen.clone().ports(VIP_PORT, CLIENT_PORT + 1), 1000));
        push("an error about another client", error(seen.clone().between(f.vip(), f.client(9)), 1000));
        push("an error about a packet of ours the wrong way round", error(row.next(), 1000));
        let header = cuts(f)[0] - 8;
        push("a quote cut in its ports", error(seen.clone(), header + 3));
        push("a quote cut in its IP header", error(seen.clone(), header - 4));
        push("no quote", error(seen.clone(), 0));
        push("a quote of another protocol", error(seen.clone().raw(47, &[0; 24]), 1000));
    }
    check_all("unknown quotes", &cases);
}

#[test]
fn an_error_towards_an_unreachable_backend_is_dropped() {
    let case = |row: Row| {
        let f = row.family;
        let (_, seen) = sent_by_backend(row);
        let (_, kind, code, word) = errors(f)[0];
        let error = f.to_vip().icmp(kind, code, word, Quote::Packet(Box::new(seen), 1000));
        let case = established(row, row.case("error, next hop lost", 1));
        let case = case.change("lost", |w| w.backends[0].flags &= !lb_common::backend::flag::REACHABLE);
        case.send("the error", error, drop(1, Reason::NoNeighbour))
    };
    check_all("error, no neighbour", &all().map(case).collect::<Vec<_>>());
}
