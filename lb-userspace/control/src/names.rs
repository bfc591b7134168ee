//! Host names of backends: what each resolves to, when to ask again, and the last good answer when nobody answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lb_model::HostName;

/// An answer is believed at least so long, whatever its TTL, so that a TTL of 0 does not become a flood of queries.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// And at most so long.
pub const LONGEST: Duration = Duration::from_secs(300);
/// After a failure: 1 s, doubled up to this.
pub const SLOWEST_RETRY: Duration = Duration::from_secs(30);

/// What a resolver says: addresses and how long they are good for, or why there are none.
pub type Answer = Result<(Vec<IpAddr>, Duration), String>;

#[derive(Clone, Debug)]
struct Host {
    addresses: Vec<IpAddr>,
    next: Instant,
    in_flight: bool,
    failures: u32,
    error: Option<String>,
}

/// Every host name in use.
#[derive(Clone, Debug, Default)]
pub struct Names {
    hosts: BTreeMap<HostName, Host>,
}

impl Names {
    /// Uses these names and no others. Known ones keep their answers; new ones begin with `remembered` and are asked
    /// for at once.
    pub fn set(&mut self, hosts: BTreeSet<HostName>, remembered: impl Fn(&HostName) -> Vec<IpAddr>, now: Instant) {
        self.hosts.retain(|h, _| hosts.contains(h));
        for host in hosts {
            let addresses = remembered(&host);
            self.hosts.entry(host).or_insert(Host { addresses, next: now, in_flight: false, failures: 0, error: None });
        }
    }

    /// Names to ask for now; each is to be told by [`Names::answered`].
    pub fn due(&mut self, now: Instant) -> Vec<HostName> {
        let due = self.hosts.iter_mut().filter(|(_, h)| !h.in_flight && h.next <= now);
        due.map(|(name, host)| {
            host.in_flight = true;
            name.clone()
        })
        .collect()
    }

    /// Takes an answer; true if the addresses changed. A failure, or an answer without addresses, changes none.
    pub fn answered(&mut self, name: &HostName, answer: Answer, now: Instant) -> bool {
        let Some(host) = self.hosts.get_mut(name) else { return false };
        host.in_flight = false;
        let answer = match answer {
            Ok((addresses, _)) if addresses.is_empty() => Err("no addresses".to_owned()),
            other => other,
        };
        match answer {
            Ok((mut addresses, ttl)) => {
                addresses.sort_unstable();
                addresses.dedup();
                host.failures = 0;
                host.error = None;
                host.next = now + ttl.clamp(SHORTEST, LONGEST);
                let changed = host.addresses != addresses;
                host.addresses = addresses;
                changed
            }
            Err(why) => {
                host.next = now + (SHORTEST * 2u32.saturating_pow(host.failures.min(8))).min(SLOWEST_RETRY);
                host.failures += 1;
                host.error = Some(why);
                false
            }
        }
    }

    /// In order; empty while nothing is known.
    #[must_use]
    pub fn addresses(&self, name: &HostName) -> &[IpAddr] {
        self.hosts.get(name).map_or(&[], |h| &h.addresses)
    }

    pub fn known(&self) -> impl Iterator<Item = (&HostName, &[IpAddr])> {
        self.hosts.iter().map(|(n, h)| (n, h.addresses.as_slice()))
    }

    /// Why the last question failed, if it did.
    #[must_use]
    pub fn error(&self, name: &HostName) -> Option<&String> {
        self.hosts.get(name)?.error.as_ref()
    }

    /// Names whose last question failed, in words.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        self.hosts.iter().filter_map(|(name, host)| {
            let why = host.error.as_ref()?;
            let kept = if host.addresses.is_empty() { "no address is known" } else { "the last answer is kept" };
            Some(format!("{} does not resolve: {why}; {kept}", name.as_str()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::BackendAddress;

    fn name(s: &str) -> HostName {
        match s.parse() {
            Ok(BackendAddress::Host { host, .. }) => host,
            other => panic!("{other:?}"),
        }
    }

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|s| s.parse().expect("an address")).collect()
    }

    #[test]
    fn the_last_good_answer_is_kept() {
        let mut now = tokio::time::Instant::now().into_std();
        let (a, b) = (name("a.example"), name("b.example"));
        let mut names = Names::default();
        names.set([a.clone(), b.clone()].into(), |_| Vec::new(), now);
        assert_eq!(names.due(now), [a.clone(), b.clone()]);
        assert!(names.due(now).is_empty(), "asked once");
        assert!(names.answered(&a, Ok((ips(&["10.0.0.2", "10.0.0.1", "10.0.0.2"]), Duration::from_secs(20))), now));
        assert_eq!(names.addresses(&a), ips(&["10.0.0.1", "10.0.0.2"]));
        assert!(!names.answered(&b, Err("NXDOMAIN".into()), now));
        now += SHORTEST;
        assert_eq!(names.due(now), vec![b.clone()], "a failure is asked again soon");
        now += Duration::from_secs(19);
        assert_eq!(names.due(now), vec![a.clone()], "and an answer on its TTL");
        assert!(!names.answered(&a, Err("timed out".into()), now));
        assert_eq!(names.addresses(&a).len(), 2);
        assert!(!names.answered(&b, Ok((Vec::new(), LONGEST)), now), "an empty answer is a failure");
        let said: Vec<String> = names.failures().collect();
        assert_eq!(said[0], "a.example does not resolve: timed out; the last answer is kept");
        assert_eq!(said[1], "b.example does not resolve: no addresses; no address is known");
        now += Duration::from_secs(2);
        assert!(names.answered(&a, Ok((ips(&["10.0.0.3"]), Duration::ZERO)), now));
        assert!(names.due(now).iter().all(|n| *n != a), "a TTL of 0 is not believed");
    }
}
