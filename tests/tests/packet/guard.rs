//! Who may open a flow: source ranges and the rate of new flows.

use lb_common::reason::Reason;
use lb_tests::packet::case::{Case, check_all, drop, forwards, opens};
use lb_tests::packet::cast::Family;

use crate::row::{A, B, C, CLIENT_PORT, Row, all, established};

/// The length of a range that holds one client only.
fn whole(family: Family) -> u8 {
    if family == Family::V4 { 32 } else { 128 }
}

/// The length of a range that holds all clients.
fn network(family: Family) -> u8 {
    if family == Family::V4 { 24 } else { 112 }
}

fn opened(row: Row, case: Case, client: u8, name: u16) -> Case {
    let first = row.first_from(client, CLIENT_PORT);
    case.send("let in", first.clone(), opens(1, 1, row.out(first, 1, name)))
}

fn refused(row: Row, case: Case, client: u8, reason: Reason) -> Case {
    case.send("refused", row.first_from(client, CLIENT_PORT), drop(1, reason))
}

#[test]
fn source_ranges() {
    let mut cases = Vec::new();
    for row in all() {
        let f = row.family;
        let denied = row.world(1).service(|s| s.ranges = vec![(f.client(2), whole(f), false)]);
        let case = opened(row, row.on("one client denied", denied), 1, A);
        let case = refused(row, case, 2, Reason::Denied);
        cases.push(opened(row, case, 3, B));

        let allowed = row.world(1).service(|s| {
            s.ranges = vec![(f.client(0), network(f), true), (f.client(2), whole(f), false)];
            s.otherwise = false;
        });
        let case = opened(row, row.on("a network allowed, one client of it denied", allowed), 1, A);
        let case = refused(row, case, 2, Reason::Denied);
        let stranger = row.first().between(f.reporter(), f.vip());
        cases.push(case.send("a client from elsewhere", stranger, drop(1, Reason::Denied)).held(row.halves(), 0));
    }
    check_all("ranges", &cases);
}

#[test]
fn rates() {
    const HOUR: u64 = 3_600_000_000_000;
    let case = |row: Row| {
        let case = row.on("two new flows an hour", row.world(1).service(|s| s.rate = Some((HOUR, 2))));
        let case = established(row, case);
        let second = row.first_from(1, CLIENT_PORT + 1);
        let case = case.send("a second flow", second.clone(), opens(1, 1, row.out(second, 1, B)));
        let third = row.first_from(1, CLIENT_PORT + 2);
        let case = case.send("a third", third, drop(1, Reason::RateLimited));
        let case = case.send("the first goes on", row.next(), forwards(1, 1, row.out(row.next(), 1, A)));
        opened(row, case, 2, C)
    };
    let refill = |row: Row| {
        // One flow per 10 ms, one at once: the second must wait.
        let case = row.on("one flow per 10 ms", row.world(1).service(|s| s.rate = Some((10_000_000, 1))));
        let case = opened(row, case, 1, A);
        let second = row.first_from(1, CLIENT_PORT + 1);
        case.then("20 ms pass", |_| pause()).send("a second flow", second.clone(), opens(1, 1, row.out(second, 1, B)))
    };
    check_all("rates", &all().flat_map(|r| [case(r), refill(r)]).collect::<Vec<_>>());
}

#[expect(clippy::disallowed_methods, reason = "the program reads the kernel's clock, which nothing but time moves")]
fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(20));
}
