//! Source addresses of NAT: which run of the kernel's list a backend gets.

use std::net::IpAddr;

use lb_common::net::Addr;

/// Places in the kernel's list.
const ROOM: usize = 256;

/// The list, as it stands and as it grows: the configured addresses, else those the host itself would take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    list: Vec<IpAddr>,
    configured4: (u16, u16),
    configured6: (u16, u16),
}

impl Sources {
    /// From `snat_addresses`; those beyond the list's room are left out.
    #[must_use]
    pub fn new(configured: &[IpAddr]) -> Self {
        let mut list: Vec<IpAddr> = configured.iter().copied().filter(IpAddr::is_ipv4).take(ROOM / 2).collect();
        let fours = list.len() as u16;
        list.extend(configured.iter().copied().filter(IpAddr::is_ipv6).take(ROOM / 2));
        let sixes = list.len() as u16 - fours;
        Self { list, configured4: (0, fours), configured6: (fours, sixes) }
    }

    /// Likewise, going on with a list that is in use: its places keep their meaning. A list of other configured addresses
    /// is given up.
    #[must_use]
    pub fn resume(configured: &[IpAddr], in_use: Vec<IpAddr>) -> Self {
        let new = Self::new(configured);
        if in_use.starts_with(&new.list) { Self { list: in_use, ..new } } else { new }
    }

    /// The run of addresses towards a backend; `source` is the host's choice. No address at all is a run of none, and
    /// the kernel counts its flows as `nat_exhausted`.
    pub fn run(&mut self, backend: IpAddr, source: Option<IpAddr>) -> (u16, u16) {
        let configured = if backend.is_ipv4() { self.configured4 } else { self.configured6 };
        if configured.1 > 0 {
            return configured;
        }
        let Some(source) = source else {
            return (0, 0);
        };
        let at = self.list.iter().position(|a| *a == source).or_else(|| {
            let room = self.list.len() < ROOM;
            room.then(|| {
                self.list.push(source);
                self.list.len() - 1
            })
        });
        at.map_or((0, 0), |i| (i as u16, 1))
    }

    /// The list in order.
    pub fn addresses(&self) -> impl Iterator<Item = Addr> {
        self.list.iter().map(|a| Addr::from(*a))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(s: &str) -> IpAddr {
        s.parse().expect("an address")
    }

    #[test]
    fn configured_addresses_win_by_family() {
        let mut s = Sources::new(&[ip("192.0.2.1"), ip("2001:db8::1"), ip("192.0.2.2")]);
        assert_eq!(s.run(ip("10.0.0.1"), Some(ip("10.0.0.9"))), (0, 2));
        assert_eq!(s.run(ip("2001:db8::5"), None), (2, 1));
    }

    #[test]
    fn places_in_use_keep_their_meaning() {
        let in_use = vec![ip("192.0.2.1"), ip("10.0.0.9")];
        let mut s = Sources::resume(&[ip("192.0.2.1")], in_use.clone());
        assert_eq!((s.len(), s.run(ip("10.0.0.1"), None)), (2, (0, 1)));
        let mut s = Sources::resume(&[], in_use.clone());
        assert_eq!(s.run(ip("10.0.0.1"), Some(ip("10.0.0.9"))), (1, 1));
        assert_eq!(Sources::resume(&[ip("192.0.2.7")], in_use).len(), 1);
    }

    #[test]
    fn the_hosts_own_otherwise() {
        let mut s = Sources::new(&[ip("192.0.2.1")]);
        assert_eq!(s.run(ip("2001:db8::5"), Some(ip("2001:db8::9"))), (1, 1));
        assert_eq!(s.run(ip("2001:db8::6"), Some(ip("2001:db8::9"))), (1, 1));
        assert_eq!(s.run(ip("2001:db8::7"), None), (0, 0));
        assert_eq!(s.len(), 2);
    }
}
