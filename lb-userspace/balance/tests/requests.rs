//! Layer 7's picker: shares, consistency, and who is passed over.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use lb_balance::request::of_bytes;
use lb_balance::{Load, RequestPicker, Seat};
use lb_model::http::HttpAlgorithm;
use proptest::prelude::*;

#[derive(Default)]
struct World {
    turn: Cell<u64>,
    seed: Cell<u64>,
    active: Vec<u64>,
    latency: Vec<u64>,
    closed: Vec<u32>,
}

impl Load for World {
    fn turn(&self) -> u64 {
        self.turn.replace(self.turn.get() + 1)
    }
    fn random(&self) -> u32 {
        let s = self.seed.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.seed.set(s);
        let z = (s ^ (s >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32) as u32
    }
    fn active(&self, member: u32) -> u64 {
        self.active.get(member as usize).copied().unwrap_or(0)
    }
    fn latency(&self, member: u32) -> u64 {
        self.latency.get(member as usize).copied().unwrap_or(0)
    }
    fn open(&self, member: u32) -> bool {
        !self.closed.contains(&member)
    }
}

fn seats(weights: &[u16]) -> Vec<Seat> {
    let at = |i: usize| SocketAddr::from(([10, 0, 0, i as u8 + 1], 80));
    weights.iter().enumerate().map(|(i, &weight)| Seat { address: at(i), weight }).collect()
}

fn shares(picker: &RequestPicker, world: &World, n: usize) -> BTreeMap<u32, usize> {
    let mut got = BTreeMap::new();
    for i in 0..n {
        let member = picker.pick(of_bytes(format!("client {i}").as_bytes()), world).expect("a member is open");
        *got.entry(member).or_default() += 1;
    }
    got
}

#[test]
fn every_algorithm_but_round_robin_honours_weights() {
    for algorithm in HttpAlgorithm::ALL {
        let picker = RequestPicker::new(algorithm, 65_537, &seats(&[1, 3, 0]), true);
        let got = shares(&picker, &World::default(), 10_000);
        let want = if algorithm == HttpAlgorithm::RoundRobin { 5_000.0 } else { 7_500.0 };
        let off = (got[&1] as f64 - want).abs() / want;
        // Points on a ring are spread by chance.
        let most = if algorithm == HttpAlgorithm::RingHash { 0.15 } else { 0.03 };
        assert!(off < most, "{algorithm}: {got:?}");
        assert_eq!(got.get(&2), None, "{algorithm}");
    }
}

#[test]
fn two_choices_are_exact_among_equals_and_shun_the_slow_and_the_busy() {
    let picker = RequestPicker::new(HttpAlgorithm::P2c, 251, &seats(&[1, 1]), true);
    assert_eq!(shares(&picker, &World::default(), 1_000), BTreeMap::from([(0, 500), (1, 500)]));
    let slow = World { latency: vec![100_000_000, 1_000_000], ..World::default() };
    assert_eq!(shares(&picker, &slow, 1_000), BTreeMap::from([(1, 1_000)]));
    let busy = World { active: vec![3, 4], ..World::default() };
    assert_eq!(shares(&picker, &busy, 1_000), BTreeMap::from([(0, 1_000)]));
    // A slow one is taken once the other has that much more to do.
    let both = World { latency: vec![100_000_000, 1_000_000], active: vec![0, 10], ..World::default() };
    assert_eq!(shares(&picker, &both, 1_000), BTreeMap::from([(0, 1_000)]));
}

#[test]
fn two_choices_load_by_weight() {
    let picker = RequestPicker::new(HttpAlgorithm::P2c, 251, &seats(&[1, 3]), true);
    // Three in flight at the heavy one are as one at the light one.
    let world = World { active: vec![1, 3], ..World::default() };
    assert_eq!(shares(&picker, &world, 1_000), BTreeMap::from([(0, 250), (1, 750)]));
    // One at the heavy one does not turn its share over to the light one.
    let world = World { active: vec![0, 1], ..World::default() };
    assert_eq!(shares(&picker, &world, 1_000), BTreeMap::from([(0, 250), (1, 750)]));
    let world = World { active: vec![1, 6], ..World::default() };
    assert_eq!(shares(&picker, &world, 1_000), BTreeMap::from([(0, 1_000)]));
}

#[test]
fn least_connections_goes_by_weight_and_room() {
    let picker = RequestPicker::new(HttpAlgorithm::LeastConnections, 251, &seats(&[1, 2, 1]), true);
    let world = World { active: vec![2, 3, 2], ..World::default() };
    assert_eq!(shares(&picker, &world, 10), BTreeMap::from([(1, 10)]));
    let world = World { active: vec![2, 3, 9], closed: vec![1], ..World::default() };
    assert_eq!(shares(&picker, &world, 10), BTreeMap::from([(0, 10)]));
}

#[test]
fn ring_keeps_most_clients_when_a_member_goes() {
    for algorithm in [HttpAlgorithm::RingHash, HttpAlgorithm::Maglev] {
        let before = RequestPicker::new(algorithm, 65_537, &seats(&[1; 10]), true);
        let mut fewer = seats(&[1; 10]);
        fewer[4].weight = 0;
        let after = RequestPicker::new(algorithm, 65_537, &fewer, true);
        let moved = (0..10_000u32)
            .map(|i| of_bytes(&i.to_be_bytes()))
            .filter(|&h| before.of_hash(h) != Some(4) && before.of_hash(h) != after.of_hash(h))
            .count();
        let most = if algorithm == HttpAlgorithm::RingHash { 0 } else { 300 };
        assert!(moved <= most, "{algorithm}: {moved}");
    }
}

proptest! {
    #[test]
    fn an_open_member_is_found_and_a_closed_one_never_taken(
        weights in proptest::collection::vec(0u16..=20, 1..12),
        closed in proptest::collection::vec(0u32..12, 0..12),
        seed: u64,
        algorithm in proptest::sample::select(HttpAlgorithm::ALL.to_vec()),
    ) {
        let picker = RequestPicker::new(algorithm, 251, &seats(&weights), true);
        let world = World { closed: closed.clone(), seed: Cell::new(seed), turn: Cell::new(seed >> 1), ..World::default() };
        let open = |m: u32| weights[m as usize] > 0 && !closed.contains(&m);
        // With few slots a light member may have none in a Maglev table.
        let any = (0..weights.len() as u32).any(open);
        let picked = picker.pick(seed as u32, &world);
        if let Some(member) = picked {
            prop_assert!(open(member));
        } else {
            prop_assert!(!any);
        }
    }
}
