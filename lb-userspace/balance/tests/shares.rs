//! Every algorithm gives every member its share, for any weights; and what must not depend on order does not.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use lb_balance::{Ask, Member, Picker, Surroundings};
use lb_model::{Algorithm, Protocol};
use proptest::prelude::*;

/// Turns, chance and loads of a pool that is only being tested.
struct Stage {
    turn: Cell<u64>,
    chance: Cell<u64>,
    active: RefCell<Vec<u64>>,
}

impl Stage {
    fn new(members: usize) -> Self {
        Self { turn: Cell::new(0), chance: Cell::new(0x1234_5678_9abc_def1), active: RefCell::new(vec![0; members]) }
    }
}

impl Surroundings for Stage {
    fn turn(&self) -> u64 {
        self.turn.replace(self.turn.get() + 1)
    }
    fn random(&self) -> u32 {
        // xorshift64* (Vigna, 2016)
        let mut x = self.chance.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.chance.set(x);
        (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }
    fn active(&self, member: u32) -> u64 {
        self.active.borrow()[member as usize]
    }
}

fn members(weights: &[u16]) -> Vec<Member> {
    let ip = |i: usize| IpAddr::V4(Ipv4Addr::new(10, 0, (i >> 8) as u8, i as u8));
    weights
        .iter()
        .enumerate()
        .map(|(i, &weight)| Member { ip: ip(i), port: Some(80), weight, eligible: weight > 0 })
        .collect()
}

/// Flow `n` of many: clients and ports both vary.
fn ask(n: u32) -> Ask {
    let client = SocketAddr::new(IpAddr::V4(Ipv4Addr::from(0x0b00_0000 + n)), (n % 60_000) as u16 + 1024);
    Ask::new(client, SocketAddr::from(([192, 0, 2, 1], 80)), Protocol::Tcp)
}

/// Flows by member out of `flows`; every flow stays open.
fn spread(algorithm: Algorithm, weights: &[u16], flows: u32) -> Vec<u64> {
    let picker = Picker::new(algorithm, 65_537, &members(weights));
    let stage = Stage::new(weights.len());
    for n in 0..flows {
        let pick = picker.pick(&ask(n), &stage).expect("somebody takes it");
        stage.active.borrow_mut()[pick.member as usize] += 1;
    }
    stage.active.into_inner()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Within 5 % of the weight plus four standard deviations where chance or a hash decides.
    #[test]
    fn shares_follow_weights(
        weights in proptest::collection::vec(1u16..=20, 2..12),
        algorithm in proptest::sample::select(Algorithm::ALL.to_vec()),
    ) {
        let flows = 40_000u32;
        let got = spread(algorithm, &weights, flows);
        let equal = algorithm == Algorithm::RoundRobin;
        let weight = |w: u16| if equal { 1.0 } else { f64::from(w) };
        let total: f64 = weights.iter().map(|&w| weight(w)).sum();
        for (&w, &g) in weights.iter().zip(&got) {
            let want = f64::from(flows) * weight(w) / total;
            let hashed = matches!(algorithm, Algorithm::Maglev | Algorithm::SourceHash | Algorithm::Random);
            let slack = if hashed { 0.05 * want + 4.0 * want.sqrt() } else { 1.0 + 0.001 * want };
            prop_assert!((g as f64 - want).abs() <= slack, "{algorithm}: {g} for {want}");
        }
    }

    #[test]
    fn nobody_ineligible_is_picked(
        weights in proptest::collection::vec(0u16..=3, 1..20),
        out in proptest::collection::vec(any::<bool>(), 20),
        algorithm in proptest::sample::select(Algorithm::ALL.to_vec()),
    ) {
        let mut list = members(&weights);
        for (m, &o) in list.iter_mut().zip(&out) {
            m.eligible &= !o;
        }
        let picker = Picker::new(algorithm, 251, &list);
        let stage = Stage::new(list.len());
        for n in 0..200 {
            match picker.pick(&ask(n), &stage) {
                Some(p) => prop_assert!(list[p.member as usize].effective_weight() > 0),
                None => prop_assert!(list.iter().all(|m| m.effective_weight() == 0)),
            }
        }
    }

    /// Consistent algorithms choose by the set of members, whatever their order.
    #[test]
    fn order_plays_no_part(seed in any::<u32>(), turn in 1usize..7) {
        let list = members(&[1, 2, 3, 1, 5, 1, 1]);
        let mut turned = list.clone();
        turned.rotate_left(turn);
        for algorithm in [Algorithm::Maglev, Algorithm::SourceHash] {
            let (a, b) = (Picker::new(algorithm, 2039, &list), Picker::new(algorithm, 2039, &turned));
            let stage = Stage::new(7);
            let (x, y) = (a.pick(&ask(seed % 1_000_000), &stage), b.pick(&ask(seed % 1_000_000), &stage));
            prop_assert_eq!(x.map(|p| list[p.member as usize].ip), y.map(|p| turned[p.member as usize].ip));
        }
    }
}

#[test]
fn one_of_a_hundred_leaves_and_others_stay() {
    let all = members(&[1; 100]);
    let mut fewer = all.clone();
    fewer[37].eligible = false;
    let (a, b) = (Picker::new(Algorithm::Maglev, 65_537, &all), Picker::new(Algorithm::Maglev, 65_537, &fewer));
    let moved = a.slots().iter().zip(b.slots()).filter(|(x, y)| **x != 37 && x != y).count();
    let others = a.slots().iter().filter(|x| **x != 37).count();
    assert!(moved * 100 <= others, "{moved} of {others} slots of other members moved");
}

#[test]
fn least_connections_fills_the_emptier_first() {
    let picker = Picker::new(Algorithm::LeastConnections, 251, &members(&[1, 2]));
    let stage = Stage::new(2);
    *stage.active.borrow_mut() = vec![10, 0];
    for _ in 0..19 {
        let p = picker.pick(&ask(1), &stage).expect("two take flows");
        assert_eq!(p.member, 1, "10/1 is more than {}/2", stage.active(1));
        stage.active.borrow_mut()[1] += 1;
    }
}

#[test]
fn source_hash_goes_by_client_alone() {
    let picker = Picker::new(Algorithm::SourceHash, 65_537, &members(&[1; 10]));
    let stage = Stage::new(10);
    let pick = |port| {
        let client = SocketAddr::from(([198, 51, 100, 7], port));
        let ask = Ask::new(client, SocketAddr::from(([192, 0, 2, 1], 80)), Protocol::Tcp);
        picker.pick(&ask, &stage).map(|p| p.member)
    };
    assert!((1..1000).all(|port| pick(port) == pick(1000)));
}

/// Engines and versions must agree: a golden choice.
#[test]
fn choices_are_frozen() {
    let list = members(&[1, 2, 3, 4]);
    let stage = Stage::new(4);
    let choose = |algorithm| {
        let picker = Picker::new(algorithm, 65_537, &list);
        (0..12).map(|n| picker.pick(&ask(n), &stage).map_or(9, |p| p.member)).collect::<Vec<_>>()
    };
    assert_eq!(choose(Algorithm::Maglev), GOLDEN_MAGLEV);
    assert_eq!(choose(Algorithm::SourceHash), GOLDEN_SOURCE);
}

const GOLDEN_MAGLEV: [u32; 12] = [2, 3, 3, 1, 2, 0, 1, 1, 3, 3, 1, 1];
const GOLDEN_SOURCE: [u32; 12] = [1, 1, 1, 3, 2, 0, 3, 3, 3, 3, 2, 3];
