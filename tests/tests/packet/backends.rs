//! What becomes of flows when their backend falls ill, drains, expires, vanishes or cannot be reached.

use lb_common::backend::flag;
use lb_common::flow::state;
use lb_common::reason::Reason;
use lb_common::service::algorithm;
use lb_tests::packet::case::{Case, check_all, drop, forwards, opens, pass, sends};
use lb_tests::packet::cast::{BALANCER, BALANCER_FAR, FAR, ROUTER, backend_mac};
use lb_tests::packet::layers::{Body, Frame};
use lb_tests::packet::world::{DRAINING, EXPIRED, UNHEALTHY, World};

use crate::row::{A, B, BACKEND_PORT, C, CLIENT_PORT, Row, VIP_PORT, all, established, nat};

/// Two backends in turn; client 1's flow is established on the first, which then gets `flags`.
fn after(row: Row, what: &str, flags: u32) -> Case {
    let world = row.world(2).algorithm(algorithm::ROUND_ROBIN);
    established(row, row.on(what, world)).active(1, 1).change(what, move |w| w.backends[0].flags = flags)
}

fn stays(row: Row, case: Case) -> Case {
    case.send("its next packet", row.next(), forwards(1, 1, row.out(row.next(), 1, A)))
}

fn moves(row: Row, case: Case) -> Case {
    case.send("its next packet", row.next(), opens(1, 2, row.out(row.next(), 2, B)))
}

fn newcomer(row: Row, case: Case) -> Case {
    let first = row.first_from(2, CLIENT_PORT);
    case.send("another client", first.clone(), opens(1, 2, row.out(first, 2, C)))
}

#[test]
fn unhealthy() {
    let case = |row: Row| {
        let case = newcomer(row, after(row, "unhealthy", UNHEALTHY));
        if !row.is_tcp() {
            return moves(row, case).active(1, 0);
        }
        let case = stays(row, case).active(1, 1);
        case.send("a SYN of the same ports", row.first(), opens(1, 2, row.out(row.first(), 2, B))).active(1, 0)
    };
    check_all("unhealthy", &all().map(case).collect::<Vec<_>>());
}

#[test]
fn draining() {
    let case = |row: Row| newcomer(row, stays(row, after(row, "draining", DRAINING)).active(1, 1)).active(1, 1);
    check_all("draining", &all().map(case).collect::<Vec<_>>());
}

/// The reset that the balancer sends on a backend's behalf answers what the client just sent (RFC 9293 §3.10.7.1).
fn reset_for(row: Row, frame: &Frame) -> Frame {
    let Body::Tcp(sent) = &frame.body else { panic!("no TCP: {frame:?}") };
    row.family
        .to_vip()
        .link(BALANCER, ROUTER)
        .between(row.family.vip(), row.family.client(1))
        .tcp(VIP_PORT, CLIENT_PORT, "R")
        .seq(sent.ack, 0)
        .window(0)
}

#[test]
fn expired() {
    let mut cases = Vec::new();
    for flags in [EXPIRED, 0] {
        let what = if flags == 0 { "removed" } else { "expired" };
        for row in all() {
            let case = after(row, what, flags);
            if !row.is_tcp() {
                cases.push(moves(row, newcomer(row, case)));
                continue;
            }
            let ask = row.client_tcp("PA").payload(b"still there?").seq(1001, 7001);
            let case = case.send("data", ask.clone(), sends(1, Reason::Reset, reset_for(row, &ask)));
            let mut case = case.state(state::RESET).active(1, 0);
            if row.is_nat() {
                let late = row.backend_tcp(1, A, "PA").payload(b"yes").seq(7001, 1019);
                let wanted =
                    late.clone().link(BALANCER, backend_mac(1)).between(row.family.snat(1), row.family.backend(1));
                let wanted = wanted.tcp(A, BACKEND_PORT, "R").seq(1019, 0).window(0);
                case = case.send("data from the backend", late, sends(1, Reason::Reset, wanted));
            }
            // A reset is never answered.
            case = case.send("a reset", row.client_tcp("R"), drop(1, Reason::BackendGone));
            cases.push(case.send("a SYN of the same ports", row.first(), opens(1, 2, row.out(row.first(), 2, B))));
        }
    }
    check_all("expired", &cases);
}

#[test]
fn nobody_takes_flows() {
    let mut cases = Vec::new();
    let none = |w: &mut World| w.backends.iter_mut().for_each(|b| b.flags = UNHEALTHY);
    for row in all() {
        for a in 1..=6 {
            let case = row.on(&format!("all down, algorithm {a}"), row.world(2).algorithm(a)).change("all down", none);
            cases.push(case.send("a new flow", row.first(), drop(1, Reason::NoBackend)).held(0, 0));
        }
        let case = row.on("weights of 0", row.world(2).every_backend(|b| b.weight = 0));
        cases.push(case.send("a new flow", row.first(), drop(1, Reason::NoBackend)).held(0, 0));
        let case = row.on("no backends", row.world(0));
        cases.push(case.send("a new flow", row.first(), drop(1, Reason::NoBackend)).held(0, 0));
        let case = established(row, row.case("all down later", 1)).change("all down", none);
        cases.push(if row.is_tcp() {
            stays(row, case)
        } else {
            case.send("its next packet", row.next(), drop(1, Reason::NoBackend))
        });
    }
    check_all("no backend", &cases);
}

#[test]
fn no_neighbour() {
    let new = |row: Row| {
        let world = row.world(1).every_backend(|b| b.flags &= !flag::REACHABLE);
        let case = row.on("next hop unknown", world).send("a new flow", row.first(), drop(1, Reason::NoNeighbour));
        let case = case.change("resolved", |w| w.backends[0].flags |= flag::REACHABLE);
        case.send("again", row.first(), opens(1, 1, row.out(row.first(), 1, A)))
    };
    let known = |row: Row| {
        let case = established(row, row.case("next hop lost", 1));
        let case = case.change("lost", |w| w.backends[0].flags &= !flag::REACHABLE);
        let case = case.send("its next packet", row.next(), drop(1, Reason::NoNeighbour));
        stays(row, case.change("found", |w| w.backends[0].flags |= flag::REACHABLE))
    };
    check_all("no neighbour", &all().flat_map(|r| [new(r), known(r)]).collect::<Vec<_>>());
}

#[test]
fn another_next_hop_is_used_at_once() {
    let case = |row: Row| {
        let case = established(row, row.case("the backend's MAC changes", 1));
        let case = case.change("another MAC", |w| w.backends[0].mac = [0x02, 9, 9, 9, 9, 9]);
        case.send(
            "a packet",
            row.next(),
            forwards(1, 1, row.out(row.next(), 1, A).link(BALANCER, [0x02, 9, 9, 9, 9, 9])),
        )
    };
    check_all("MAC change", &all().map(case).collect::<Vec<_>>());
}

#[test]
fn two_interfaces() {
    let far = |w: World| {
        w.every_backend(|b| {
            b.ifindex = FAR;
            b.our_mac = BALANCER_FAR;
        })
    };
    let out = |row: Row, f: Frame| row.out(f, 1, A).link(BALANCER_FAR, backend_mac(1));
    let case = |row: Row| {
        let case = row.on("backends on another interface", far(row.world(1)));
        let case = case.send("a flow", row.first(), opens(1, 1, out(row, row.first())).redirected());
        if !row.is_nat() {
            return case;
        }
        // Client packets were seen on another interface than the one the answer comes in on.
        let case = case.then("the client is on the far interface", |p| {
            for (table, key, mut flow) in p.flows() {
                if flow.side == lb_common::flow::side::REPLY {
                    flow.ifindex = FAR;
                    p.put_flow(table, &key, flow);
                }
            }
        });
        let answer = row.answer(1, A);
        let wanted = row.back(answer.clone()).link(BALANCER_FAR, ROUTER);
        case.send("the answer", answer, sends(1, Reason::Returned, wanted).redirected())
    };
    check_all("two interfaces", &all().map(case).collect::<Vec<_>>());
}

#[test]
fn half_a_pair_is_made_good() {
    use lb_common::flow::side;
    // A window is about a second: flows are made to look older instead of waiting.
    let lose = |case: Case, what: &str, lost: u8| {
        case.then(what, move |p| {
            for (table, key, mut flow) in p.flows() {
                if flow.side == lost {
                    p.remove_flow(table, &key);
                } else {
                    flow.last_seen = flow.last_seen.wrapping_sub(3000);
                    p.put_flow(table, &key, flow);
                }
            }
        })
    };
    let reply_lost = |row: Row| {
        let case = lose(established(row, row.case("reply half lost", 1)), "the reply half is lost", side::REPLY);
        let case = stays(row, case.held(0, 1)).held(0, 2);
        let answer = row.answer(1, A);
        case.send("the answer", answer.clone(), sends(1, Reason::Returned, row.back(answer)))
    };
    let forward_lost = |row: Row| {
        let case = lose(established(row, row.case("forward half lost", 1)), "the forward half is lost", side::FORWARD);
        let answer = if row.is_tcp() { row.backend_tcp(1, A, "PA") } else { row.answer(1, A) };
        let case = case.held(0, 1).send("an answer", answer.clone(), sends(1, Reason::Returned, row.back(answer)));
        stays(row, case.held(0, 2)).state(state::ESTABLISHED)
    };
    let fresh_reply_lost = |row: Row| {
        let case = row.case("reply half lost while fresh", 1);
        let case = case.send("the first packet", row.first(), opens(1, 1, row.out(row.first(), 1, A)));
        let case = lose(case, "the reply half is lost", side::REPLY).held(1, 0);
        let case = case.send("again", row.first(), forwards(1, 1, row.out(row.first(), 1, A)));
        let answer = row.answer(1, A);
        case.send("the answer", answer.clone(), sends(1, Reason::Returned, row.back(answer)))
    };
    let cases: Vec<Case> = nat().flat_map(|r| [reply_lost(r), forward_lost(r), fresh_reply_lost(r)]).collect();
    check_all("healing", &cases);
}

#[test]
fn two_services_share_a_backend() {
    let case = |row: Row| {
        let mut world = row.world(1);
        let mut second = world.services[0].clone();
        second.ports = (81, 81);
        world.services.push(second);
        let other = row.first().ports(CLIENT_PORT, 81);
        let case = row.on("two services, one backend", world);
        let case = case.send("the first service", row.first(), opens(1, 1, row.out(row.first(), 1, A)));
        let wanted = row.out(other.clone(), 1, B);
        let case = case.send("the second, same client port", other, opens(2, 1, wanted));
        if !row.is_nat() {
            return case;
        }
        let answer = row.answer(1, B);
        let wanted = row.back(answer.clone()).ports(81, CLIENT_PORT);
        case.send("the second's answer", answer, sends(2, Reason::Returned, wanted))
    };
    check_all("two services", &all().map(case).collect::<Vec<_>>());
}

#[test]
fn ports_of_nat_run_out_and_come_back() {
    let case = |row: Row| {
        let world = row.world(1).nat_ports(30_000, 1);
        let second = row.first_from(2, CLIENT_PORT);
        let case = row.on("one port of NAT", world);
        let case = case.send("a flow", row.first(), opens(1, 1, row.out(row.first(), 1, A)));
        let case = case.send("another", second.clone(), drop(1, Reason::NatExhausted)).held(2, 0);
        let case = case.then("the first is aged out", |p| {
            for (table, key, _) in p.flows() {
                p.remove_flow(table, &key);
            }
        });
        let wanted = row.out(second.clone(), 1, 30_000);
        case.send("the other again", second, opens(1, 1, wanted))
    };
    let other_backend = |row: Row| {
        let world = row.world(2).algorithm(algorithm::ROUND_ROBIN).nat_ports(30_000, 1);
        let second = row.first_from(2, CLIENT_PORT);
        let case = row.on("one port of NAT, two backends", world);
        let case = case.send("a flow", row.first(), opens(1, 1, row.out(row.first(), 1, A)));
        case.send("another", second.clone(), opens(1, 2, row.out(second, 2, B))).held(4, 0)
    };
    let held_by_established = |row: Row| {
        let second = row.first_from(2, CLIENT_PORT);
        let case =
            established(row, row.on("one port of NAT, established", row.world(1).nat_ports(30_000, 1))).held(0, 2);
        let case = case.send("another", second, drop(1, Reason::NatExhausted)).held(0, 2);
        stays(row, case)
    };
    // A flow that has waited for a second gives its port up; one that was answered, or is young, does not.
    let held_by_half_open = |row: Row| {
        let second = row.first_from(2, CLIENT_PORT);
        let case = row.on("one port of NAT, half-open", row.world(1).nat_ports(30_000, 1));
        let case = case.send("a flow", row.first(), opens(1, 1, row.out(row.first(), 1, A)));
        let case = case.send("another", second.clone(), drop(1, Reason::NatExhausted));
        let case = case.then("a second passes", |p| {
            for (table, key, mut flow) in p.flows() {
                flow.last_seen = flow.last_seen.wrapping_sub(1100);
                p.put_flow(table, &key, flow);
            }
        });
        let wanted = row.out(second.clone(), 1, 30_000);
        let case = case.send("the other again", second, opens(1, 1, wanted)).held(2, 0);
        let answer = row.answer(1, 30_000);
        let wanted = row.back(answer.clone()).between(row.family.vip(), row.family.client(2));
        case.send("its answer", answer, sends(1, Reason::Returned, wanted))
    };
    let cases = nat().flat_map(|r| [case(r), other_backend(r), held_by_established(r), held_by_half_open(r)]);
    check_all("NAT ports", &cases.collect::<Vec<_>>());
}

#[test]
fn a_full_table_keeps_flows_fresh() {
    let case = |row: Row| {
        let mut world = row.world(1);
        world.flows = 1;
        let case = row.on("flow table full", world);
        // Two entries: one flow of NAT, two of DSR.
        let clients = if row.is_nat() { 1..=2 } else { 1..=3 };
        let last = *clients.end();
        let mut case = case;
        for n in clients {
            let (first, next) = (row.first_from(n, CLIENT_PORT), row.next_from(n, CLIENT_PORT));
            let name = u16::from(n);
            case = case.send("its first packet", first.clone(), opens(1, 1, row.out(first, 1, name)));
            if row.is_nat() && row.is_tcp() {
                let answer = row.answer(1, name);
                let wanted = row.back(answer.clone()).between(row.family.vip(), row.family.client(n));
                case = case.send("its answer", answer, sends(1, Reason::Returned, wanted));
            }
            let mut wanted = forwards(1, 1, row.out(next.clone(), 1, name));
            if n == last {
                wanted = wanted.also(Reason::FlowTableFull);
            }
            case = case.send("its second packet", next, wanted);
        }
        let next = row.next_from(last, CLIENT_PORT);
        case = case.held(row.halves(), 2);
        // It is carried all the same, and asks for its place again a second later.
        let case = case.then("a second passes", |p| {
            for (table, key, mut flow) in p.flows() {
                flow.last_seen = flow.last_seen.wrapping_sub(1024);
                p.put_flow(table, &key, flow);
            }
        });
        let wanted = forwards(1, 1, row.out(next.clone(), 1, u16::from(last)));
        case.send("goes on", next, wanted.also(Reason::FlowTableFull)).held(row.halves(), 2)
    };
    check_all("table full", &all().map(case).collect::<Vec<_>>());
}

#[test]
fn a_range_of_ports() {
    let case = |row: Row| {
        let world = row.world(1).service(|s| s.ports = (5000, 5100)).every_backend(|b| b.port = 0);
        let mut case = row.on("a range of ports, kept", world);
        for (name, port) in [(A, 5000), (B, 5077), (C, 5100)] {
            let first = row.first().ports(CLIENT_PORT, port);
            // The backend is spoken to on the port that the client chose.
            let wanted = row.out(first.clone(), 1, name);
            let wanted = if row.is_nat() { wanted.ports(name, port) } else { wanted };
            case = case.send("a flow", first, opens(1, 1, wanted));
            if row.is_nat() {
                let answer = row.answer(1, name).ports(port, name);
                let wanted = row.back(answer.clone()).ports(port, CLIENT_PORT);
                case = case.send("the answer", answer, sends(1, Reason::Returned, wanted));
            }
        }
        let before = row.first().ports(CLIENT_PORT, 4999);
        let after = row.first().ports(CLIENT_PORT, 5101);
        case.send("a port below", before, pass(Reason::NotOurs)).send("a port above", after, pass(Reason::NotOurs))
    };
    check_all("range of ports", &all().map(case).collect::<Vec<_>>());
}
