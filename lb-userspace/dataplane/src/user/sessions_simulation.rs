//! The session table under random clients, answers, silences and evictions, beside a plain model of it. A failure prints
//! the seed that repeats it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{FRESH, Full, Key, Sessions, Stage};

#[derive(Clone, Debug)]
struct Modelled {
    number: u64,
    last_seen: u32,
    stage: Stage,
    idle: u32,
}

struct World {
    table: Sessions<(u64, u32)>,
    model: BTreeMap<(u16, bool), Modelled>,
    now: u32,
    next: u64,
    rng: StdRng,
}

const CAPACITY: usize = 40;

fn key(client: u16, other_vip: bool) -> Key {
    let vip = if other_vip { 2 } else { 1 };
    Key { client: SocketAddr::from(([10, 0, 0, 1], client)), vip: SocketAddr::from(([192, 0, 2, vip], 53)) }
}

impl World {
    fn new(seed: u64) -> Self {
        // Begins shortly before the clock wraps.
        let now = u32::MAX - 20_000;
        Self { table: Sessions::new(CAPACITY), model: BTreeMap::new(), now, next: 0, rng: StdRng::seed_from_u64(seed) }
    }

    fn any_known(&mut self) -> Option<(u16, bool)> {
        let n = self.model.len();
        if n == 0 { None } else { self.model.keys().nth(self.rng.random_range(0..n)).copied() }
    }

    fn datagram(&mut self) {
        let who = (self.rng.random_range(1..=80u16), self.rng.random_bool(0.2));
        let k = key(who.0, who.1);
        let found = self.table.find(&k);
        assert_eq!(found.is_some(), self.model.contains_key(&who));
        if let Some(id) = found {
            self.table.on_client(id, 1, 100, self.now);
            let m = self.model.get_mut(&who).expect("modelled");
            m.last_seen = self.now;
            if m.stage == Stage::Answered {
                m.stage = Stage::Established;
            }
            return;
        }
        match self.table.make_room() {
            Err(Full) => {
                assert!(self.model.len() == CAPACITY && self.model.values().all(|m| m.stage == Stage::Established));
                return;
            }
            Ok(None) => assert!(self.model.len() < CAPACITY),
            Ok(Some(evicted)) => self.forget_oldest_fresh(evicted.held.0),
        }
        self.next += 1;
        let idle = self.rng.random_range(1..=60_000);
        self.table.open(k, (self.next, idle), self.now);
        let m = Modelled { number: self.next, last_seen: self.now, stage: Stage::New, idle };
        self.model.insert(who, m);
    }

    fn forget_oldest_fresh(&mut self, number: u64) {
        let oldest = self.model.iter().filter(|(_, m)| m.stage != Stage::Established).min_by_key(|(_, m)| m.number);
        let (who, m) = oldest.map(|(w, m)| (*w, m.clone())).expect("somebody is fresh");
        assert_eq!(m.number, number, "the oldest fresh session goes first");
        self.model.remove(&who);
    }

    fn answer(&mut self) {
        let Some(who) = self.any_known() else { return };
        let id = self.table.find(&key(who.0, who.1)).expect("known");
        self.table.on_answer(id, self.now);
        let m = self.model.get_mut(&who).expect("modelled");
        m.last_seen = self.now;
        if m.stage == Stage::New {
            m.stage = Stage::Answered;
        }
    }

    fn close(&mut self) {
        let Some(who) = self.any_known() else { return };
        let id = self.table.find(&key(who.0, who.1)).expect("known");
        assert!(self.table.close(id).is_some());
        assert!(self.table.close(id).is_none(), "an old number opens nothing");
        self.table.on_answer(id, self.now);
        self.model.remove(&who);
    }

    fn sweep(&mut self) {
        let odd = self.rng.random_bool(0.1);
        let now = self.now;
        let mut ended: Vec<u64> = self
            .table
            .sweep(now, usize::MAX, |h| h.1, |h| odd && h.0.is_multiple_of(7))
            .iter()
            .map(|s| s.held.0)
            .collect();
        let over = |m: &Modelled| {
            let limit = if m.stage == Stage::Established { m.idle } else { m.idle.min(FRESH) };
            now.wrapping_sub(m.last_seen) >= limit || (odd && m.number.is_multiple_of(7))
        };
        let mut want: Vec<u64> = self.model.values().filter(|m| over(m)).map(|m| m.number).collect();
        self.model.retain(|_, m| !over(m));
        ended.sort_unstable();
        want.sort_unstable();
        assert_eq!(ended, want);
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..55 => self.datagram(),
            55..80 => self.answer(),
            80..85 => self.close(),
            85..92 => self.sweep(),
            _ => self.now = self.now.wrapping_add(self.rng.random_range(0..8_000)),
        }
        self.table.check_invariants();
        assert_eq!(self.table.len(), self.model.len());
    }
}

#[test]
fn agrees_with_a_plain_model() {
    for seed in 0..128 {
        let outcome = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..600 {
                world.step();
            }
        });
        assert!(outcome.is_ok(), "seed {seed} fails");
    }
}
