//! Which backend: every algorithm against what its published table says, and client affinity.

use lb_common::hash;
use lb_common::net::{Addr, Be16};
use lb_common::service::algorithm;
use lb_tests::packet::case::{Case, check_all, opens};
use lb_tests::packet::compare::Moved;
use lb_tests::packet::layers::FIRST_REAL_PORT;
use lb_tests::packet::shelf;
use lb_tests::packet::world::{DRAINING, UNHEALTHY, World};

use crate::row::{CLIENT_PORT, Row, VIP_PORT, all};

/// A world of backends with these weights.
fn weighted(row: Row, a: u8, weights: &[u16]) -> World {
    let mut world = row.world(u8::try_from(weights.len()).expect("few")).algorithm(a);
    for (b, w) in world.backends.iter_mut().zip(weights) {
        b.weight = *w;
    }
    world
}

/// New flows from ports one after another go to these backends in turn.
fn in_turn(row: Row, what: &str, world: World, turns: &[u32]) -> Case {
    assert!(turns.len() < usize::from(FIRST_REAL_PORT), "each flow needs a name");
    let mut case = row.on(what, world);
    for (i, n) in turns.iter().enumerate() {
        let i = u16::try_from(i).expect("few");
        let first = row.first_from(1, CLIENT_PORT + i);
        let out = row.out(first.clone(), u8::try_from(*n).expect("few"), i + 1);
        case = case.send(&format!("flow {}", i + 1), first, opens(1, *n, out));
    }
    case
}

#[test]
fn turns() {
    let mut cases = Vec::new();
    for row in all() {
        let world = weighted(row, algorithm::ROUND_ROBIN, &[1, 5, 9]);
        cases.push(in_turn(row, "round robin ignores weights", world, &[1, 2, 3, 1, 2, 3]));
        let world = weighted(row, algorithm::ROUND_ROBIN, &[1, 0, 1]);
        cases.push(in_turn(row, "round robin, one of weight 0", world, &[1, 3, 1, 3]));
        let world = weighted(row, algorithm::WEIGHTED_ROUND_ROBIN, &[3, 1]);
        cases.push(in_turn(row, "weighted round robin", world, &[1, 1, 2, 1, 1, 1, 2, 1]));
        let world = weighted(row, algorithm::WEIGHTED_ROUND_ROBIN, &[2, 0, 2]);
        cases.push(in_turn(row, "weighted round robin, equal", world, &[1, 3, 1, 3]));
    }
    check_all("turns", &cases);
}

/// What the pool's table says to a client's port.
fn by_table(row: Row, world: &World, client: u8, port: u16) -> u32 {
    let (from, to) = (Addr::from(row.family.client(client)), Addr::from(row.family.vip()));
    let h = match world.pools[0].algorithm {
        algorithm::MAGLEV => hash::of_flow(&from, Be16::from_host(port), &to, Be16::from_host(VIP_PORT), row.protocol),
        _ => hash::of_client(&from),
    };
    let slots = world.slots(1);
    slots[hash::slot(h, u32::try_from(slots.len()).expect("a small table")) as usize]
}

#[test]
fn hashes() {
    let mut cases = Vec::new();
    for row in all() {
        let world = weighted(row, algorithm::MAGLEV, &[1, 2, 3, 0, 1]);
        let turns: Vec<u32> = (0..12).map(|i| by_table(row, &world, 1, CLIENT_PORT + i)).collect();
        assert!(turns.iter().any(|n| *n != turns[0]), "twelve flows spread over more than one backend");
        cases.push(in_turn(row, "maglev", world, &turns));
        let world = weighted(row, algorithm::SOURCE_HASH, &[1, 1, 1, 1]);
        let one = by_table(row, &world, 1, 0);
        cases.push(in_turn(row, "source hash, one client", world.clone(), &[one; 8]));
        let mut case = row.on("source hash, many clients", world.clone());
        for client in 1..12 {
            let n = by_table(row, &world, client, 0);
            let first = row.first_from(client, CLIENT_PORT);
            let out = row.out(first.clone(), u8::try_from(n).expect("few"), u16::from(client));
            case = case.send(&format!("client {client}"), first, opens(1, n, out));
        }
        cases.push(case);
    }
    check_all("hashes", &cases);
}

#[test]
fn random_draws_by_weight_from_those_eligible() {
    for row in all() {
        let mut world = weighted(row, algorithm::RANDOM, &[1, 3, 1]);
        world.backends[2].flags = DRAINING;
        let program = shelf::borrow(&world);
        let before = program.counts();
        const FLOWS: u16 = 2000;
        for i in 0..FLOWS {
            program.run(&row.first_from(1, CLIENT_PORT + i).encode()).expect("runs");
        }
        let moved = Moved::between(&before, &program.counts());
        let flows = |n: u32| moved.backends.get(&n).map_or(0, |d| d.2);
        assert_eq!(flows(1) + flows(2), u64::from(FLOWS), "{row:?}");
        // A quarter, give or take five standard deviations of a fair draw and the table's rounding.
        let share = flows(1) as f64 / f64::from(FLOWS);
        assert!((share - 0.25).abs() < 0.055, "{row:?}: backend 1 of weight 1 in 4 got {share}");
    }
}

#[test]
fn least_connections() {
    let mut cases = Vec::new();
    for row in all() {
        // Flows that are established count; each of these is, so the next goes where there are fewest.
        let settle = |case: Case, n: u8, name: u16, port: u16| {
            let (first, next) = (row.first_from(1, port), row.next_from(1, port));
            let mut case = case.send("opens", first.clone(), opens(1, u32::from(n), row.out(first, n, name)));
            if row.is_nat() && row.is_tcp() {
                let answer = row.answer(n, name);
                let wanted = row.back(answer.clone()).ports(VIP_PORT, port);
                let wanted = lb_tests::packet::case::sends(1, lb_common::reason::Reason::Returned, wanted);
                case = case.send("answer", answer, wanted);
            }
            let wanted = lb_tests::packet::case::forwards(1, u32::from(n), row.out(next.clone(), n, name));
            case.send("goes on", next, wanted)
        };
        let world = weighted(row, algorithm::LEAST_CONNECTIONS, &[1, 1, 1]);
        let mut case = row.on("least connections", world);
        for (i, n) in [1, 2, 3].into_iter().enumerate() {
            let i = u16::try_from(i).expect("few");
            case = settle(case, n, i + 1, CLIENT_PORT + i);
        }
        case = case.active(1, 1).active(2, 1).active(3, 1);
        if row.is_tcp() {
            // Backend 2 loses its flow; the turn is backend 1's, but 2 has fewer.
            let reset = row.first_from(1, CLIENT_PORT + 1).tcp(CLIENT_PORT + 1, VIP_PORT, "R");
            let wanted = lb_tests::packet::case::forwards(1, 2, row.out(reset.clone(), 2, 2));
            case = case.send("a reset", reset, wanted).active(2, 0);
            case = settle(case, 2, 4, CLIENT_PORT + 10).active(2, 1);
        }
        cases.push(case);

        // Twice the weight carries twice the flows.
        let world = weighted(row, algorithm::LEAST_CONNECTIONS, &[1, 2]);
        let mut case = row.on("least connections by weight", world);
        for (i, n) in by_load(&[1, 2], 6).into_iter().enumerate() {
            let i = u16::try_from(i).expect("few");
            case = settle(case, n, i + 1, CLIENT_PORT + i);
        }
        cases.push(case.active(1, 2).active(2, 4));
    }
    check_all("least connections", &cases);
}

/// Who gets flow after flow, done by hand: the member whose turn it is, unless another has fewer per weight.
fn by_load(weights: &[u16], flows: usize) -> Vec<u8> {
    let sequence = lb_common::wrr::sequence(weights);
    let mut active = vec![0u32; weights.len()];
    let mut out = Vec::new();
    for turn in 0..flows {
        let mut best = sequence[turn % sequence.len()] as usize;
        for other in 0..weights.len() {
            if active[other] * u32::from(weights[best]) < active[best] * u32::from(weights[other]) {
                best = other;
            }
        }
        active[best] += 1;
        out.push(u8::try_from(best + 1).expect("few"));
    }
    out
}

#[test]
fn affinity_holds_a_client_to_its_backend() {
    let mut cases = Vec::new();
    for row in all() {
        let world = |a| row.world(3).algorithm(a).service(|s| s.affinity = Some(60));
        let next_flow = |case: Case, what: &str, client: u8, port: u16, n: u8, name: u16| {
            let first = row.first_from(client, port);
            case.send(what, first.clone(), opens(1, u32::from(n), row.out(first, n, name)))
        };
        let case = row.on("affinity", world(algorithm::ROUND_ROBIN));
        let case = next_flow(case, "client 1", 1, CLIENT_PORT, 1, 1);
        let case = next_flow(case, "client 2", 2, CLIENT_PORT, 2, 2);
        let case = next_flow(case, "client 1 again", 1, CLIENT_PORT + 1, 1, 3);
        let case = next_flow(case, "client 2 again", 2, CLIENT_PORT + 1, 2, 4);
        let client = row.family.client(1);
        let case = case.then("client 1 is long silent", move |p| p.age_affinity(client, 1, 120_000));
        let case = next_flow(case, "client 1 after its timeout", 1, CLIENT_PORT + 2, 3, 5);
        let case = next_flow(case, "client 1 once more", 1, CLIENT_PORT + 3, 3, 6);
        let case = case.change("its backend falls ill", |w| w.backends[2].flags = UNHEALTHY);
        // The turn: three were taken of three members; two members are left.
        let case = next_flow(case, "client 1 elsewhere", 1, CLIENT_PORT + 4, 2, 7);
        let case = case.change("and recovers", |w| w.backends[2].flags = lb_tests::packet::world::HEALTHY);
        cases.push(next_flow(case, "client 1 stays", 1, CLIENT_PORT + 5, 2, 8));
    }
    check_all("affinity", &cases);
}
