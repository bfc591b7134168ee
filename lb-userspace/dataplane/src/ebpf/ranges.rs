//! `allow` and `deny` compiled into longest-prefix entries in which deny wins.

use std::collections::BTreeMap;

use lb_common::net::Addr;
use lb_model::{Prefix, Service};

/// A range of client addresses in the mapped form: its length in bits and its sixteen bytes.
pub type Range = (u32, [u8; 16]);

/// The verdict (1 let in, 0 refused) of every range that a service names, and of the rest (the range of length 0).
/// Empty if the service lets everybody in. Ranges of the other address family say nothing and are left out.
///
/// Longest-prefix match alone would let a narrow `allow` inside a broad `deny` win; so every entry carries the verdict
/// for its whole range: 0 if any `deny` covers it, else 1 if any `allow` does.
#[must_use]
pub fn compile(service: &Service) -> BTreeMap<Range, u32> {
    let mut out = BTreeMap::new();
    if service.allow.is_empty() && service.deny.is_empty() {
        return out;
    }
    let v4 = service.listen.address.is_ipv4();
    let ours = |p: &&Prefix| p.address().is_ipv4() == v4;
    out.insert((0, [0; 16]), u32::from(service.allow.is_empty()));
    for p in service.allow.iter().chain(&service.deny).filter(ours) {
        let covers = |q: &Prefix| q.length() <= p.length() && q.contains(p.address());
        let open = service.allow.is_empty() || service.allow.iter().any(covers);
        let verdict = u32::from(open && !service.deny.iter().any(covers));
        out.insert(range(p), verdict);
    }
    out
}

fn range(p: &Prefix) -> Range {
    let length = u32::from(p.length()) + if p.address().is_ipv4() { 96 } else { 0 };
    (length, Addr::from(p.address()).octets())
}

/// What the entries say about a client: the longest that holds it decides. As the kernel's trie does it.
#[must_use]
pub fn verdict(ranges: &BTreeMap<Range, u32>, client: std::net::IpAddr) -> Option<(Range, u32)> {
    let bits = u128::from_be_bytes(Addr::from(client).octets());
    let holds = |(length, bytes): &Range| {
        let shift = 128 - length;
        *length == 0 || u128::from_be_bytes(*bytes) >> shift == bits >> shift
    };
    ranges.iter().filter(|(r, _)| holds(r)).max_by_key(|(r, _)| r.0).map(|(r, v)| (*r, *v))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(listen: &str, allow: &[&str], deny: &[&str]) -> Service {
        let name = |s: &str| s.parse().expect("a name");
        let prefixes = |l: &[&str]| l.iter().map(|p| p.parse().expect("a prefix")).collect();
        let mut s = Service::new(name("web"), listen.parse().expect("a listen"), name("web"));
        s.allow = prefixes(allow);
        s.deny = prefixes(deny);
        s
    }

    fn lets_in(s: &Service, client: &str) -> bool {
        let ranges = compile(s);
        ranges.is_empty() || verdict(&ranges, client.parse().expect("an address")).is_some_and(|(_, v)| v == 1)
    }

    #[test]
    fn deny_wins_at_any_length() {
        let s = service("192.0.2.1:80/tcp", &["10.1.2.0/24", "10.0.0.0/8"], &["10.1.0.0/16", "10.2.3.4/32"]);
        for (client, open) in [
            ("10.9.0.1", true),
            ("10.1.2.3", false),
            ("10.1.9.9", false),
            ("10.2.3.4", false),
            ("10.2.3.5", true),
            ("11.0.0.1", false),
        ] {
            assert_eq!(lets_in(&s, client), open, "{client}");
        }
    }

    #[test]
    fn deny_alone_leaves_the_rest_open_and_allow_alone_closes_it() {
        let deny = service("192.0.2.1:80/tcp", &[], &["10.0.0.0/8"]);
        assert!(lets_in(&deny, "11.0.0.1") && !lets_in(&deny, "10.0.0.1"));
        let allow = service("192.0.2.1:80/tcp", &["10.0.0.0/8"], &[]);
        assert!(!lets_in(&allow, "11.0.0.1") && lets_in(&allow, "10.0.0.1"));
        assert!(compile(&service("192.0.2.1:80/tcp", &[], &[])).is_empty());
    }

    #[test]
    fn everybody_of_one_family() {
        let all = service("[2001:db8::1]:80/tcp", &["::/0"], &["2001:db8:bad::/48"]);
        assert!(lets_in(&all, "2001:db8::5") && !lets_in(&all, "2001:db8:bad::1"));
        let other = service("[2001:db8::1]:80/tcp", &["0.0.0.0/0"], &[]);
        assert!(!lets_in(&other, "2001:db8::5"));
        let v4 = service("192.0.2.1:80/tcp", &["0.0.0.0/0"], &[]);
        assert!(lets_in(&v4, "203.0.113.9"));
    }
}
