//! Maglev's look-up table (Eisenbud et al., *Maglev: A Fast and Reliable Software Network Load Balancer*, NSDI 2016,
//! §3.4), with weights.
//!
//! Every member walks its own permutation of the slots and takes the next free one when its turn comes. A member of
//! weight *w* gets *w / w_max* turns a round, which spreads the slots in proportion to the weights.

use alloc::vec;
use alloc::vec::Vec;

/// A member of the table: who it is (stable over rebuilds: a hash of its address, see [`identity`]) and its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub identity: u64,
    pub weight: u16,
}

/// A stable identity from the bytes of a name or address (FNV-1a, 64 bit, then a finalising mix).
#[must_use]
pub fn identity(bytes: &[u8]) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325_u64;
    for b in bytes {
        h = (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix(h)
}

/// The finaliser of SplitMix64 (Steele et al., 2014).
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The smallest prime that is at least `n`: the table's size must be prime for every skip to reach every slot.
#[must_use]
pub fn prime_at_least(n: u32) -> u32 {
    (n.max(3)..).find(|&c| is_prime(c)).unwrap_or(65_537)
}

#[must_use]
pub fn is_prime(n: u32) -> bool {
    n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

/// Fills a table of `size` slots (a prime) with indices into `members`. Members of weight 0 get no slot; without any
/// member the table is empty.
///
/// The result depends on the set of members, not on their order. Time is about `size · ln(size)`.
#[must_use]
pub fn table(members: &[Member], size: u32) -> Vec<u32> {
    let mut order: Vec<usize> = (0..members.len()).filter(|&i| members[i].weight > 0).collect();
    let Some(heaviest) = order.iter().map(|&i| u32::from(members[i].weight)).max() else {
        return Vec::new();
    };
    order.sort_by_key(|&i| (members[i].identity, i));

    const FREE: u32 = u32::MAX;
    let mut slots = vec![FREE; size as usize];
    let mut walks: Vec<Walk> = order.iter().map(|&i| Walk::new(i, &members[i], size)).collect();
    let mut filled = 0;
    loop {
        for walk in &mut walks {
            walk.credit += walk.weight;
            if walk.credit < heaviest {
                continue;
            }
            walk.credit -= heaviest;
            while slots[walk.at as usize] != FREE {
                walk.step(size);
            }
            slots[walk.at as usize] = walk.index;
            filled += 1;
            if filled == size {
                return slots;
            }
        }
    }
}

/// One member's way through its permutation.
struct Walk {
    index: u32,
    at: u32,
    skip: u32,
    weight: u32,
    credit: u32,
}

impl Walk {
    fn new(index: usize, member: &Member, size: u32) -> Self {
        let offset = (mix(member.identity ^ 0x9e37_79b9_7f4a_7c15) % u64::from(size)) as u32;
        let skip = (mix(member.identity.wrapping_add(0x632b_e59b_d9b4_e019)) % u64::from(size - 1)) as u32 + 1;
        Self { index: index as u32, at: offset, skip, weight: u32::from(member.weight), credit: 0 }
    }

    fn step(&mut self, size: u32) {
        self.at += self.skip;
        if self.at >= size {
            self.at -= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;

    fn members(n: usize, weight: impl Fn(usize) -> u16) -> Vec<Member> {
        (0..n)
            .map(|i| Member {
                identity: identity(format!("10.0.{}.{}:80", i / 250, i % 250).as_bytes()),
                weight: weight(i),
            })
            .collect()
    }

    fn shares(table: &[u32], n: usize) -> Vec<u32> {
        let mut count = vec![0; n];
        for &s in table {
            count[s as usize] += 1;
        }
        count
    }

    #[test]
    fn largest_share_is_within_one_percent_of_the_average() {
        for n in [1, 2, 3, 10, 100, 250] {
            let t = table(&members(n, |_| 1), 65_537);
            let max = f64::from(*shares(&t, n).iter().max().expect("not empty"));
            assert!(max / (65_537.0 / n as f64) <= 1.01, "{n} members: {max}");
        }
    }

    #[test]
    fn removing_one_of_a_hundred_moves_at_most_one_percent_of_the_others() {
        let all = members(100, |_| 1);
        let before = table(&all, 65_537);
        let mut worst = 0.0f64;
        for gone in 0..100 {
            let mut rest = all.clone();
            rest[gone].weight = 0;
            let after = table(&rest, 65_537);
            let kept = before.iter().filter(|&&s| s as usize != gone).count();
            let moved = before.iter().zip(&after).filter(|(b, a)| **b as usize != gone && a != b).count();
            worst = worst.max(moved as f64 / kept as f64);
        }
        assert!(worst <= 0.01, "{:.3} % moved", worst * 100.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn shares_follow_weights(weights in proptest::collection::vec(0u16..=1000, 1..40)) {
            let m = members(weights.len(), |i| weights[i]);
            let size = 65_537;
            let t = table(&m, size);
            let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
            if total == 0.0 {
                prop_assert!(t.is_empty());
            } else {
                prop_assert_eq!(t.len(), size as usize);
                for (share, &w) in shares(&t, m.len()).iter().zip(&weights) {
                    let want = f64::from(size) * f64::from(w) / total;
                    // A member is at most one round ahead of or behind its due.
                    prop_assert!((f64::from(*share) - want).abs() <= 2.0 + want * 0.01, "{share} for {want}");
                }
            }
        }

        #[test]
        fn order_does_not_matter(weights in proptest::collection::vec(0u16..=10, 2..20), by in 1usize..19) {
            let m = members(weights.len(), |i| weights[i]);
            let mut turned = m.clone();
            turned.rotate_left(by % m.len());
            let name = |m: &[Member], t: Vec<u32>| t.into_iter().map(|i| m[i as usize].identity).collect::<Vec<_>>();
            prop_assert_eq!(name(&m, table(&m, 251)), name(&turned, table(&turned, 251)));
        }
    }

    #[test]
    fn primes() {
        assert_eq!(prime_at_least(65_537), 65_537);
        assert_eq!(prime_at_least(65_538), 65_539);
        assert!(!is_prime(1) && is_prime(2) && !is_prime(65_535));
    }
}
