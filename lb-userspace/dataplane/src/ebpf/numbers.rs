//! Numbers of services, pools and backends: stable while a thing lives, and not given to another before nothing in the
//! kernel refers to them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lb_model::{BackendAddress, Name};

/// Who a backend is to the kernel: of a host name there is one per resolved address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackendKey {
    pub pool: Name,
    pub configured: BackendAddress,
    pub ip: IpAddr,
    pub port: Option<u16>,
}

/// Numbers 1 and up, below a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers<K: Ord> {
    limit: u32,
    live: BTreeMap<K, u32>,
    /// Gone, but flows may still say their number.
    retired: BTreeMap<K, u32>,
    owners: BTreeMap<u32, K>,
}

impl<K: Ord + Clone> Numbers<K> {
    /// Numbers `1..limit`.
    #[must_use]
    pub fn below(limit: u32) -> Self {
        Self { limit, live: BTreeMap::new(), retired: BTreeMap::new(), owners: BTreeMap::new() }
    }

    /// The number of `key`: the one it has, had (if it comes back before its number went to another), or a new one.
    /// `None` if all are taken.
    pub fn take(&mut self, key: &K) -> Option<u32> {
        if let Some(n) = self.live.get(key) {
            return Some(*n);
        }
        let number = match self.retired.remove(key) {
            Some(n) => n,
            None => self.lowest_free()?,
        };
        self.live.insert(key.clone(), number);
        self.owners.insert(number, key.clone());
        Some(number)
    }

    /// How many more keys could take a number.
    #[must_use]
    pub fn room(&self) -> u32 {
        (self.limit - 1).saturating_sub(self.owners.len() as u32)
    }

    fn lowest_free(&self) -> Option<u32> {
        // Owners are in order: the first place where number and position part is free.
        let gap = self.owners.keys().zip(1u32..).find(|(n, i)| **n != *i).map(|(_, i)| i);
        let n = gap.unwrap_or(self.owners.len() as u32 + 1);
        (n < self.limit).then_some(n)
    }

    /// `key` is gone; its number is kept until [`Numbers::free`].
    pub fn retire(&mut self, key: &K) -> Option<u32> {
        let n = self.live.remove(key)?;
        self.retired.insert(key.clone(), n);
        Some(n)
    }

    /// Nothing refers to a retired number any more.
    pub fn free(&mut self, number: u32) {
        if let Some(key) = self.owners.get(&number)
            && self.retired.remove(key).is_some()
        {
            self.owners.remove(&number);
        }
    }

    #[must_use]
    pub fn get(&self, key: &K) -> Option<u32> {
        self.live.get(key).copied()
    }
    /// The key that has or had the number.
    #[must_use]
    pub fn owner(&self, number: u32) -> Option<&K> {
        self.owners.get(&number)
    }
    #[must_use]
    pub fn is_live(&self, number: u32) -> bool {
        self.owner(number).is_some_and(|k| self.live.contains_key(k))
    }
    pub fn live(&self) -> impl Iterator<Item = (&K, u32)> {
        self.live.iter().map(|(k, n)| (k, *n))
    }
    pub fn retired(&self) -> impl Iterator<Item = (&K, u32)> {
        self.retired.iter().map(|(k, n)| (k, *n))
    }

    /// Takes back what an earlier process had written down; `false` if the number is out of range or taken.
    pub fn restore(&mut self, key: K, number: u32, live: bool) -> bool {
        let known = self.live.contains_key(&key) || self.retired.contains_key(&key);
        if number == 0 || number >= self.limit || self.owners.contains_key(&number) || known {
            return false;
        }
        self.owners.insert(number, key.clone());
        if live {
            self.live.insert(key, number)
        } else {
            self.retired.insert(key, number)
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_and_not_reused_early() {
        let mut n = Numbers::below(4);
        assert_eq!((n.take(&"a"), n.take(&"b"), n.take(&"a")), (Some(1), Some(2), Some(1)));
        assert_eq!(n.retire(&"a"), Some(1));
        assert_eq!((n.take(&"c"), n.take(&"d")), (Some(3), None), "1 may still be in flows");
        n.free(2);
        assert_eq!(n.get(&"b"), Some(2), "a live number cannot be freed");
        n.free(1);
        assert_eq!((n.room(), n.take(&"d")), (1, Some(1)));
    }

    #[test]
    fn who_comes_back_has_its_number_back() {
        let mut n = Numbers::below(10);
        n.take(&"a");
        n.take(&"b");
        n.retire(&"a");
        assert!(!n.is_live(1));
        assert_eq!(n.take(&"a"), Some(1));
        assert!(n.is_live(1) && n.retired().next().is_none());
    }

    #[test]
    fn restoring_refuses_nonsense() {
        let mut n = Numbers::below(10);
        assert!(n.restore("a", 3, true) && n.restore("b", 1, false));
        assert!(!n.restore("c", 3, true) && !n.restore("a", 4, true) && !n.restore("d", 10, true));
        assert_eq!((n.take(&"c"), n.take(&"b")), (Some(2), Some(1)));
    }
}
