//! TCP: handshake, data, closing, resets, port reuse, and what belongs to no flow.

use lb_common::flow::state;
use lb_common::net::proto;
use lb_common::reason::Reason;
use lb_common::service::algorithm;
use lb_tests::packet::case::{Case, check_all, drop, forwards, opens, sends};
use lb_tests::packet::cast::FAMILIES;

use crate::row::{A, B, CLIENT_PORT, Row, established, rows};

fn returned(row: Row, case: Case, what: &str, flags: &str) -> Case {
    let frame = row.backend_tcp(1, A, flags);
    case.send(what, frame.clone(), sends(1, Reason::Returned, row.back(frame)))
}

fn forwarded(row: Row, case: Case, what: &str, flags: &str) -> Case {
    let frame = row.client_tcp(flags);
    case.send(what, frame.clone(), forwards(1, 1, row.out(frame, 1, A)))
}

#[test]
fn a_handshake_and_data() {
    let case = |row: Row| {
        let case = row.case("handshake, data", 1).send("SYN", row.first(), opens(1, 1, row.out(row.first(), 1, A)));
        let mut case = case.state(state::FRESH).held(row.halves(), 0).active(1, 0);
        if row.is_nat() {
            case = returned(row, case, "SYN-ACK", "SA").state(state::ANSWERED).held(2, 0);
        }
        let mut case = forwarded(row, case, "ACK", "A").state(state::ESTABLISHED).held(0, row.halves()).active(1, 1);
        let ask = row.client_tcp("PA").payload(b"GET / HTTP/1.1\r\n\r\n").seq(1001, 7001);
        case = case.send("data from the client", ask.clone(), forwards(1, 1, row.out(ask, 1, A)));
        if row.is_nat() {
            let answer = row.backend_tcp(1, A, "PA").payload(&[7; 1200]).seq(7001, 1019);
            case = case.send("data from the backend", answer.clone(), sends(1, Reason::Returned, row.back(answer)));
        }
        case.state(state::ESTABLISHED).held(0, row.halves()).active(1, 1)
    };
    check_all("handshake", &rows(proto::TCP).map(case).collect::<Vec<_>>());
}

#[test]
fn a_syn_again_stays_with_its_backend() {
    let case = |row: Row| {
        let world = row.world(3).algorithm(algorithm::ROUND_ROBIN);
        let case = row.on("SYN retransmitted", world).send("SYN", row.first(), opens(1, 1, row.out(row.first(), 1, A)));
        let case = forwarded(row, case, "SYN again", "S").held(row.halves(), 0).state(state::FRESH);
        let case = established_after(row, case);
        forwarded(row, case, "a late SYN of the same connection", "S").state(state::ESTABLISHED).active(1, 1)
    };
    check_all("SYN again", &rows(proto::TCP).map(case).collect::<Vec<_>>());
}

/// What follows a SYN.
fn established_after(row: Row, mut case: Case) -> Case {
    if row.is_nat() {
        case = returned(row, case, "SYN-ACK", "SA");
    }
    forwarded(row, case, "ACK", "A")
}

#[test]
fn closing_by_fin() {
    let client_first = |row: Row| {
        let case = established(row, row.case("FIN, the client first", 1)).active(1, 1);
        let case = forwarded(row, case, "FIN from the client", "FA");
        if !row.is_nat() {
            // The backend's FIN is not seen: the client's has to do for both.
            let case = case.state(state::CLOSED).active(1, 0);
            return forwarded(row, case, "the last ACK", "A").state(state::CLOSED).active(1, 0);
        }
        let case = case.state(state::HALF_CLOSED).active(1, 1);
        let case = returned(row, case, "data from the backend", "PA").state(state::HALF_CLOSED);
        let case = returned(row, case, "FIN from the backend", "FA").state(state::CLOSED).active(1, 0);
        let case = forwarded(row, case, "the last ACK", "A").state(state::CLOSED).active(1, 0);
        returned(row, case, "FIN again", "FA").state(state::CLOSED).active(1, 0)
    };
    let backend_first = |row: Row| {
        let case = established(row, row.case("FIN, the backend first", 1));
        let case = returned(row, case, "FIN from the backend", "FA").state(state::HALF_CLOSED).active(1, 1);
        let case = forwarded(row, case, "data from the client", "PA").state(state::HALF_CLOSED);
        forwarded(row, case, "FIN from the client", "FA").state(state::CLOSED).active(1, 0).held(0, 2)
    };
    let mut cases: Vec<Case> = rows(proto::TCP).map(client_first).collect();
    cases.extend(rows(proto::TCP).filter(|r| r.is_nat()).map(backend_first));
    check_all("FIN", &cases);
}

#[test]
fn resets() {
    let by_client = |row: Row| {
        let case = established(row, row.case("RST from the client", 1)).active(1, 1);
        let case = forwarded(row, case, "RST", "R").state(state::RESET).active(1, 0);
        forwarded(row, case, "RST again", "RA").state(state::RESET).active(1, 0)
    };
    let by_backend = |row: Row| {
        let case = established(row, row.case("RST from the backend", 1)).active(1, 1);
        returned(row, case, "RST", "RA").state(state::RESET).active(1, 0)
    };
    let refused = |row: Row| {
        let case = row.case("connection refused", 1).send("SYN", row.first(), opens(1, 1, row.out(row.first(), 1, A)));
        returned(row, case, "RST", "RA").state(state::RESET).held(2, 0).active(1, 0)
    };
    let mut cases: Vec<Case> = rows(proto::TCP).map(by_client).collect();
    cases.extend(rows(proto::TCP).filter(|r| r.is_nat()).flat_map(|r| [by_backend(r), refused(r)]));
    check_all("RST", &cases);
}

/// Two packets of a stranger, an opening and an ending, must not take room among the established.
#[test]
fn what_ends_before_it_began_stays_fresh() {
    let mut cases = Vec::new();
    for row in rows(proto::TCP) {
        let begin = |what: &str| row.case(what, 1).send("SYN", row.first(), opens(1, 1, row.out(row.first(), 1, A)));
        let case = forwarded(row, begin("SYN, RST"), "RST", "R").state(state::RESET);
        cases.push(forwarded(row, case, "RST again", "R").held(row.halves(), 0).active(1, 0));
        let case = forwarded(row, begin("SYN, FIN"), "FIN", "FA");
        let case = case.state(if row.is_nat() { state::FRESH } else { state::CLOSED });
        cases.push(forwarded(row, case, "FIN again", "FA").held(row.halves(), 0).active(1, 0));
    }
    check_all("ended before it began", &cases);
}

#[test]
fn a_new_syn_reuses_the_port() {
    // After `end`, the same client port opens again, and the turn of round robin has come to backend 2.
    let reuse = |row: Row, what: &str, end: &str, of_client: bool| {
        let world = row.world(2).algorithm(algorithm::ROUND_ROBIN);
        let mut case = established(row, row.on(&format!("port reuse after {what}"), world)).active(1, 1);
        case = match (end, of_client) {
            ("", _) => case,
            (flags, true) => forwarded(row, case, what, flags),
            (flags, false) => returned(row, case, what, flags),
        };
        let syn = row.first().seq(900_000, 0);
        let case = case.send("the new SYN", syn.clone(), opens(1, 2, row.out(syn, 2, B)));
        let case = case.active(1, 0).active(2, 0).held(row.halves(), 0).state(state::FRESH);
        let ack = row.next().seq(900_001, 1);
        if row.is_nat() {
            let answer = row.backend_tcp(2, B, "SA");
            let case = case.send("its SYN-ACK", answer.clone(), sends(1, Reason::Returned, row.back(answer)));
            return case.send("its ACK", ack.clone(), forwards(1, 2, row.out(ack, 2, B))).active(2, 1).held(0, 2);
        }
        case.send("its ACK", ack.clone(), forwards(1, 2, row.out(ack, 2, B))).active(2, 1).held(0, 1)
    };
    let mut cases = Vec::new();
    for row in rows(proto::TCP) {
        cases.push(reuse(row, "RST from the client", "R", true));
        cases.push(reuse(row, "FIN from the client", "FA", true));
        if row.is_nat() {
            cases.push(reuse(row, "RST from the backend", "RA", false));
        }
    }
    check_all("port reuse", &cases);
}

#[test]
fn two_flows_of_a_client_get_two_ports() {
    let case = |row: Row| {
        let second = row.first_from(1, CLIENT_PORT + 1);
        row.case("two flows, one backend", 1)
            .send("a flow", row.first(), opens(1, 1, row.out(row.first(), 1, A)))
            .send("another", second.clone(), opens(1, 1, row.out(second, 1, B)))
            .held(2 * row.halves(), 0)
    };
    check_all("two flows", &crate::row::all().map(case).collect::<Vec<_>>());
}

#[test]
fn what_belongs_to_no_flow() {
    let mut cases = Vec::new();
    for row in rows(proto::TCP) {
        for flags in ["R", "RA", "SF", "SFA", "SR"] {
            let frame = row.client_tcp(flags);
            cases.push(
                row.case(&format!("{flags} of no flow"), 1).send(flags, frame, drop(1, Reason::NoFlow)).held(0, 0),
            );
        }
        for a in [algorithm::ROUND_ROBIN, algorithm::WEIGHTED_ROUND_ROBIN, algorithm::LEAST_CONNECTIONS] {
            let case = row.on("ACK of no flow, no consistent algorithm", row.world(1).algorithm(a));
            cases.push(case.send("ACK", row.client_tcp("A"), drop(1, Reason::NoFlow)).held(0, 0));
        }
        for a in [algorithm::MAGLEV, algorithm::SOURCE_HASH] {
            let case = row.on("ACK of no flow, consistent algorithm", row.world(1).algorithm(a));
            let ack = row.client_tcp("PA").payload(b"in mid-stream");
            cases.push(if row.is_nat() {
                case.send("ACK", ack, drop(1, Reason::NoFlow)).held(0, 0)
            } else {
                // The table says where the flow must have gone; another balancer may have carried it before.
                let out = row.out(ack.clone(), 1, A);
                let case = case.send("ACK", ack.clone(), opens(1, 1, out.clone())).state(state::ESTABLISHED);
                // It is taken for established when it still talks a second later.
                let case = case.held(1, 0).then("a second passes", |p| {
                    for (table, key, mut flow) in p.flows() {
                        flow.last_seen = flow.last_seen.wrapping_sub(1024);
                        p.put_flow(table, &key, flow);
                    }
                });
                case.send("ACK", ack, forwards(1, 1, out)).active(1, 1).held(0, 1)
            });
        }
    }
    check_all("no flow", &cases);
}

#[test]
fn mss_is_clamped_in_the_syn_alone() {
    const MSS_1460: [u8; 4] = [2, 4, 0x05, 0xb4];
    const MSS_1400: [u8; 4] = [2, 4, 0x05, 0x78];
    const MSS_536: [u8; 4] = [2, 4, 0x02, 0x18];
    // Window scale and timestamps before the MSS, as some stacks order them.
    let behind = |mss: [u8; 4]| [&[1, 3, 3, 7, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 1][..], &mss].concat();
    let mut cases = Vec::new();
    for row in rows(proto::TCP) {
        let clamp = |what: &str, sent: &[u8], out: &[u8]| {
            let world = row.world(1).service(|s| s.mss = 1400);
            let syn = row.first().tcp_options(sent);
            let wanted = row.out(row.first().tcp_options(out), 1, A);
            row.on(what, world).send("SYN", syn, opens(1, 1, wanted))
        };
        cases.push(clamp("MSS too large", &MSS_1460, &MSS_1400));
        cases.push(clamp("MSS small enough", &MSS_536, &MSS_536));
        cases.push(clamp("no MSS", &[], &[]));
        let lying = [&[254, 0x44, 1, 1][..], &MSS_1460].concat();
        cases.push(clamp("what looks like an MSS inside another option", &lying, &lying));
        cases.push(clamp("MSS behind other options", &behind(MSS_1460), &behind(MSS_1400)));
        if row.is_nat() {
            let world = row.world(1).service(|s| s.mss = 1400);
            let case = row.on("MSS of the SYN-ACK", world);
            let case = case.send("SYN", row.first(), opens(1, 1, row.out(row.first(), 1, A)));
            let answer = |mss: &[u8]| row.answer(1, A).tcp_options(mss);
            let wanted = row.back(answer(&MSS_1400));
            cases.push(case.send("SYN-ACK", answer(&MSS_1460), sends(1, Reason::Returned, wanted)));
        }
    }
    assert_eq!(FAMILIES.len() * 11, cases.len());
    check_all("MSS", &cases);
}
