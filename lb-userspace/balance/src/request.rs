//! Choosing a member for a request: layer 7's picker, built whole and immutable like layer 4's.

use std::net::{IpAddr, SocketAddr};

use lb_common::net::Addr;
use lb_common::{hash, maglev, wrr};
use lb_model::http::HttpAlgorithm;

use crate::table::identity;

/// Latencies below this say more about the scheduler than about the backend: all of them count as this much.
const LATENCY_FLOOR: u64 = 20_000_000;
/// Points of a member of weight 1 on the ring (as ketama has them).
const POINTS: u64 = 160;
/// All points of a ring together; heavier weights are scaled down to it.
const MAX_POINTS: u64 = 1 << 17;

/// What a choice may depend on besides the request itself.
pub trait Load {
    /// The number of the next turn; taking it moves the cursor on.
    fn turn(&self) -> u64;
    /// 32 random bits.
    fn random(&self) -> u32;
    /// Requests in flight at the member.
    fn active(&self, member: u32) -> u64;
    /// The member's peak EWMA of latency in nanoseconds, decayed to now.
    fn latency(&self, member: u32) -> u64;
    /// The member has room and was not tried for this request.
    fn open(&self, member: u32) -> bool;
}

/// A member as requests see it now; a weight of 0 takes none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    pub address: SocketAddr,
    /// Any scale that is the same for all.
    pub weight: u16,
}

/// A point of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    at: u32,
    member: u32,
}

/// One pool's choice for requests.
#[derive(Clone, Debug, Default)]
pub struct RequestPicker {
    algorithm: HttpAlgorithm,
    /// Positions of members; for `ring-hash` empty.
    slots: Vec<u32>,
    ring: Vec<Point>,
    candidates: Vec<u32>,
    weights: Vec<u16>,
}

/// A client's hash, the same as at layer 4.
#[must_use]
pub fn of_client(client: IpAddr) -> u32 {
    hash::of_client(&Addr::from(client.to_canonical()))
}

/// The hash of a field, cookie or path.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> u32 {
    (maglev::identity(bytes) >> 32) as u32
}

impl RequestPicker {
    /// `flat`: `round-robin` goes by the weights too, which then are those of a slow start.
    #[must_use]
    pub fn new(algorithm: HttpAlgorithm, maglev_size: u32, seats: &[Seat], flat: bool) -> Self {
        let weights: Vec<u16> = seats.iter().map(|s| s.weight).collect();
        let candidates: Vec<u32> = (0u32..).zip(&weights).filter(|(_, w)| **w > 0).map(|(i, _)| i).collect();
        let mut ring = Vec::new();
        let slots = match algorithm {
            HttpAlgorithm::RoundRobin if flat => candidates.clone(),
            HttpAlgorithm::SourceHash | HttpAlgorithm::Maglev => {
                let entries: Vec<maglev::Member> = seats
                    .iter()
                    .map(|s| maglev::Member {
                        identity: identity(s.address.ip(), Some(s.address.port())),
                        weight: s.weight,
                    })
                    .collect();
                maglev::table(&entries, maglev_size)
            }
            HttpAlgorithm::RingHash => {
                ring = points(seats);
                Vec::new()
            }
            HttpAlgorithm::RoundRobin
            | HttpAlgorithm::P2c
            | HttpAlgorithm::WeightedRoundRobin
            | HttpAlgorithm::LeastConnections
            | HttpAlgorithm::Random => wrr::sequence(&weights),
        };
        Self { algorithm, slots, ring, candidates, weights }
    }

    /// Members of some weight, once each.
    #[must_use]
    pub fn candidates(&self) -> &[u32] {
        &self.candidates
    }

    #[must_use]
    pub fn weight(&self, member: u32) -> u16 {
        self.weights.get(member as usize).copied().unwrap_or(0)
    }

    /// The request's hash decides, and nothing else (as long as the member is open).
    #[must_use]
    pub const fn is_consistent(&self) -> bool {
        matches!(self.algorithm, HttpAlgorithm::SourceHash | HttpAlgorithm::Maglev | HttpAlgorithm::RingHash)
    }

    /// The member of this hash, where hashes decide.
    #[must_use]
    pub fn of_hash(&self, hash: u32) -> Option<u32> {
        match self.algorithm {
            HttpAlgorithm::RingHash => self.ring.get(self.ring_at(hash)).map(|p| p.member),
            HttpAlgorithm::SourceHash | HttpAlgorithm::Maglev => {
                self.slots.get(hash::slot(hash, self.slots.len() as u32) as usize).copied()
            }
            _ => None,
        }
    }

    /// The member for a request; `None` if none is open.
    #[must_use]
    pub fn pick(&self, hash: u32, load: &impl Load) -> Option<u32> {
        let n = u32::try_from(self.slots.len()).ok()?;
        match self.algorithm {
            HttpAlgorithm::RingHash => self.on_ring(hash, load),
            _ if n == 0 => None,
            HttpAlgorithm::SourceHash | HttpAlgorithm::Maglev => self.open_from(hash::slot(hash, n), load),
            HttpAlgorithm::Random => self.open_from(hash::slot(load.random(), n), load),
            HttpAlgorithm::RoundRobin | HttpAlgorithm::WeightedRoundRobin => self.open_from(turn(load, n), load),
            HttpAlgorithm::LeastConnections => {
                let first = self.open_from(turn(load, n), load)?;
                Some(self.least_loaded(first, load))
            }
            HttpAlgorithm::P2c => {
                let first = self.open_from(turn(load, n), load)?;
                Some(self.better_of_two(first, n, load))
            }
        }
    }

    /// The first open member from this slot on.
    fn open_from(&self, slot: u32, load: &impl Load) -> Option<u32> {
        let (before, after) = self.slots.split_at(slot as usize);
        let first = *after.first()?;
        if load.open(first) {
            return Some(first);
        }
        // Asked once, so that a full pool costs its members and not its slots.
        if !self.candidates.iter().any(|&m| load.open(m)) {
            return None;
        }
        after.iter().chain(before).copied().find(|&m| load.open(m))
    }

    fn ring_at(&self, hash: u32) -> usize {
        let at = self.ring.partition_point(|p| p.at < hash);
        if at == self.ring.len() { 0 } else { at }
    }

    fn on_ring(&self, hash: u32, load: &impl Load) -> Option<u32> {
        let (before, after) = self.ring.split_at(self.ring_at(hash));
        let first = after.first()?.member;
        if load.open(first) {
            return Some(first);
        }
        if !self.candidates.iter().any(|&m| load.open(m)) {
            return None;
        }
        after.iter().chain(before).map(|p| p.member).find(|&m| load.open(m))
    }

    /// The member whose turn it is, unless another is less loaded.
    fn least_loaded(&self, first: u32, load: &impl Load) -> u32 {
        let mut best = first;
        for &member in &self.candidates {
            if member != best && self.is_busier(best, member, load) && load.open(member) {
                best = member;
            }
        }
        best
    }

    /// `a` holds more for its weight than `b`, and would still with one more each. By the first alone a light idle member
    /// would be preferred to a heavy one that holds a single request, by the second alone a heavy one always.
    fn is_busier(&self, a: u32, b: u32, load: &impl Load) -> bool {
        let (held_a, held_b) = (u128::from(load.active(a)), u128::from(load.active(b)));
        let (weight_a, weight_b) = (u128::from(self.weight(a)), u128::from(self.weight(b)));
        held_a * weight_b > held_b * weight_a && (held_a + 1) * weight_b > (held_b + 1) * weight_a
    }

    /// Of the member whose turn it is and one by chance, the one that costs less; the turn wins where they are alike, so
    /// that equal backends get exact shares.
    fn better_of_two(&self, first: u32, n: u32, load: &impl Load) -> u32 {
        let at = hash::slot(load.random(), n) as usize;
        let (before, after) = self.slots.split_at(at);
        // A heavy member may hold many slots in a row; eight looks are a fair try.
        let other = match self.candidates.as_slice() {
            [_] => None,
            [a, b] => Some(if *a == first { *b } else { *a }),
            _ => after.iter().chain(before).copied().take(8).find(|&m| m != first),
        };
        let Some(second) = other.filter(|&m| load.open(m)) else { return first };
        let (a, b) = (load.latency(first).max(LATENCY_FLOOR), load.latency(second).max(LATENCY_FLOOR));
        // Latencies are noise unless one is twice the other.
        let worse = if a < 2 * b && b < 2 * a {
            self.is_busier(first, second, load)
        } else {
            cost(first, a, load) * u128::from(self.weight(second))
                > cost(second, b, load) * u128::from(self.weight(first))
        };
        if worse { second } else { first }
    }
}

/// Latency times requests in flight, the one that would come included; still to be divided by the weight.
fn cost(member: u32, latency: u64, load: &impl Load) -> u128 {
    u128::from(latency) * (u128::from(load.active(member)) + 1)
}

fn turn(load: &impl Load, n: u32) -> u32 {
    (load.turn() % u64::from(n)) as u32
}

/// Karger et al., *Consistent Hashing and Random Trees*, STOC 1997: points by weight, in order.
fn points(seats: &[Seat]) -> Vec<Point> {
    let divisor = seats.iter().fold(0u64, |g, s| gcd(g, u64::from(s.weight))).max(1);
    let total: u64 = seats.iter().map(|s| u64::from(s.weight) / divisor * POINTS).sum();
    let mut ring = Vec::new();
    for (member, seat) in (0u32..).zip(seats) {
        let mut count = u64::from(seat.weight) / divisor * POINTS;
        if total > MAX_POINTS && count > 0 {
            count = (count * MAX_POINTS / total).max(1);
        }
        for k in 0..count {
            ring.push(Point { at: of_bytes(format!("{}-{k}", seat.address).as_bytes()), member });
        }
    }
    ring.sort_unstable_by_key(|p| (p.at, seats.get(p.member as usize).map(|s| s.address)));
    ring
}

const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}
