//! Source ports of UDP sessions: each in use once towards one backend, so that answers find their session.
//!
//! The kernel would give out every port only once per host; sessions towards different backends share ports here.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

/// Ports of the kernel's default ephemeral range and, when those are used up, the ones below it.
const FIRST: u16 = 32_768;
const LAST: u16 = 60_999;
const RESERVE_FIRST: u16 = 10_240;

const COUNT: usize = (LAST - RESERVE_FIRST) as usize + 1;

/// A way to a backend: our source address, if it is not the kernel's choice, and the backend's address.
pub(crate) type Path = (Option<IpAddr>, SocketAddr);

#[derive(Debug, Default)]
pub(crate) struct Ports(Mutex<HashMap<Path, Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// One bit a port from `RESERVE_FIRST`; made when first needed.
    used: Vec<u64>,
    taken: usize,
    next: usize,
}

impl Ports {
    /// Claims a port that no session on this path uses.
    pub(crate) fn claim(&self, path: Path) -> Option<u16> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(path).or_default().claim()
    }

    pub(crate) fn give_back(&self, path: Path, port: u16) {
        let mut paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inner) = paths.get_mut(&path) {
            inner.give_back(port);
            if inner.taken == 0 {
                paths.remove(&path);
            }
        }
    }
}

impl Inner {
    fn give_back(&mut self, port: u16) {
        let Some(i) = port.checked_sub(RESERVE_FIRST).map(usize::from) else { return };
        if let Some(word) = self.used.get_mut(i / 64)
            && *word & (1 << (i % 64)) != 0
        {
            *word &= !(1 << (i % 64));
            self.taken -= 1;
        }
    }

    fn claim(&mut self) -> Option<u16> {
        if self.used.is_empty() {
            self.used = vec![0; COUNT.div_ceil(64)];
            self.next = usize::from(FIRST - RESERVE_FIRST);
        }
        if self.taken >= COUNT {
            return None;
        }
        // Past the last port the search goes on below the ephemeral range, and then from there again.
        let i = (0..COUNT).map(|k| (self.next + k) % COUNT).find(|i| self.used[i / 64] & (1 << (i % 64)) == 0)?;
        self.used[i / 64] |= 1 << (i % 64);
        self.taken += 1;
        self.next = (i + 1) % COUNT;
        Some(RESERVE_FIRST + i as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_once_and_again_when_given_back() {
        let ports = Ports::default();
        let path = (None, SocketAddr::from(([10, 0, 0, 1], 53)));
        assert_eq!(ports.claim(path), Some(FIRST));
        let rest: std::collections::HashSet<u16> = std::iter::from_fn(|| ports.claim(path)).collect();
        assert_eq!(rest.len(), COUNT - 1);
        assert!(!rest.contains(&FIRST));
        assert_eq!(ports.claim(path), None);
        ports.give_back(path, 40_000);
        ports.give_back(path, 40_000);
        assert_eq!(ports.claim(path), Some(40_000));
        assert_eq!(ports.claim(path), None);
        assert_eq!(ports.claim((None, SocketAddr::from(([10, 0, 0, 2], 53)))), Some(FIRST), "paths are apart");
    }
}
