//! The smooth weighted round robin (as nginx does it since 1.3.1), written out as one period.
//!
//! Written out, the kernel's half needs one counter and one look-up, and both halves agree to the letter.

use crate::pool::MAX_SEQUENCE;
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

/// One period of the smooth sequence: indices into `weights`, each as often as its weight says, spread evenly. Members of
/// weight 0 do not occur; all zero gives an empty sequence.
///
/// The period is the sum of the weights over their greatest common divisor. A period longer than
/// [`MAX_SEQUENCE`] is scaled down to it, every member of some weight keeping at least one place.
#[must_use]
pub fn sequence(weights: &[u16]) -> Vec<u32> {
    let scaled = scale(weights);
    let total: u64 = scaled.iter().map(|&w| u64::from(w)).sum();
    // Each member's k-th turn is due at (2k + 1) / 2w of the period: earliest due first, as an EDF scheduler would.
    let mut due: BinaryHeap<Reverse<(u64, u32, u64)>> = scaled
        .iter()
        .enumerate()
        .filter(|(_, w)| **w > 0)
        .map(|(i, &w)| Reverse((deadline(0, w), i as u32, 0)))
        .collect();
    let mut out = Vec::with_capacity(total as usize);
    while (out.len() as u64) < total {
        let Some(Reverse((_, i, k))) = due.pop() else {
            break;
        };
        out.push(i);
        due.push(Reverse((deadline(k + 1, scaled[i as usize]), i, k + 1)));
    }
    out
}

const fn deadline(k: u64, weight: u32) -> u64 {
    ((2 * k + 1) << 32) / (2 * weight as u64)
}

/// Weights over their greatest common divisor, scaled down to a sum of at most [`MAX_SEQUENCE`].
fn scale(weights: &[u16]) -> Vec<u32> {
    let divisor = weights.iter().fold(0u32, |g, &w| gcd(g, u32::from(w))).max(1);
    let total: u64 = weights.iter().map(|&w| u64::from(u32::from(w) / divisor)).sum();
    let limit = u64::from(MAX_SEQUENCE);
    weights
        .iter()
        .map(|&w| u32::from(w) / divisor)
        .map(|w| if total <= limit || w == 0 { w } else { ((u64::from(w) * limit / total) as u32).max(1) })
        .collect()
}

const fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn is_smooth() {
        assert_eq!(sequence(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(sequence(&[2, 4]).len(), 3);
        let five = sequence(&[5, 1, 1]);
        assert!(five.windows(4).all(|w| w.iter().any(|&i| i != 0)), "{five:?}");
        assert!(sequence(&[0, 0]).is_empty());
    }

    proptest! {
        #[test]
        fn every_member_gets_its_weight(weights in proptest::collection::vec(0u16..=1000, 1..50)) {
            let s = sequence(&weights);
            let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
            prop_assert!(s.len() <= MAX_SEQUENCE as usize + weights.len());
            for (i, &w) in weights.iter().enumerate() {
                let got = s.iter().filter(|&&m| m as usize == i).count() as f64;
                let want = if total == 0 { 0.0 } else { s.len() as f64 * f64::from(w) / total as f64 };
                prop_assert!((got - want).abs() <= 1.0 + want * 0.01, "{got} for {want}");
            }
        }
    }
}
