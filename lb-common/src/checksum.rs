//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624, equation 3).
//!
//! All words are 16-bit words *as they lie in memory*; the one's-complement sum does not care about byte order as long as
//! all words share it.

/// Folds carries until the sum fits 16 bits.
#[inline(always)]
#[must_use]
pub const fn fold(mut sum: u64) -> u16 {
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// The checksum `HC' = ~(~HC + ~m + m')` where `diff` is the sum of all `~m + m'` (see [`replace32`], [`replace16`]).
#[inline(always)]
#[must_use]
pub const fn update(check: u16, diff: u64) -> u16 {
    !fold((!check) as u64 + diff)
}

/// Contribution of a 32-bit field changing from `old` to `new`.
#[inline(always)]
#[must_use]
pub const fn replace32(old: u32, new: u32) -> u64 {
    (!old) as u64 + new as u64
}

/// Contribution of a 16-bit field changing from `old` to `new`.
#[inline(always)]
#[must_use]
pub const fn replace16(old: u16, new: u16) -> u64 {
    (!old) as u64 + new as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// RFC 1071 §4.1, byte by byte: another way to the same number.
    fn whole(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_ne_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    proptest! {
        #[test]
        fn incremental_equals_whole(mut bytes in proptest::collection::vec(any::<u8>(), 40..41), at in 0usize..9, new: u32, port: u16) {
            bytes[39] |= 1; // an all-zero buffer has two valid checksums
            let before = whole(&bytes);
            let word = |b: &Vec<u8>, i: usize| u32::from_ne_bytes([b[i], b[i+1], b[i+2], b[i+3]]);
            let old = word(&bytes, at * 4);
            let old16 = u16::from_ne_bytes([bytes[36], bytes[37]]);
            bytes[at * 4..at * 4 + 4].copy_from_slice(&new.to_ne_bytes());
            let mut diff = replace32(old, new);
            bytes[36..38].copy_from_slice(&port.to_ne_bytes());
            diff += replace16(old16, port);
            prop_assert_eq!(update(before, diff), whole(&bytes));
        }
    }
}
