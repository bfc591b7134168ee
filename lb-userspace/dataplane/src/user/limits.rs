//! Per-client state of a service: rate limits (GCRA) and affinity, in bounded tables. Pure: the time is an argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use lb_model::RateLimit;

use super::clock::age;
use super::live::LiveBackend;

/// Clients remembered per service, as in the kernel's half.
const CLIENTS: usize = 65_536;

/// The generic cell rate algorithm (ITU-T I.371, virtual scheduling): per client the time at which its next flow is due.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    due: HashMap<IpAddr, u64>,
}

impl Rates {
    /// May the client open a flow at `now` (nanoseconds)? If so, it is taken into account.
    pub(crate) fn admit(&mut self, client: IpAddr, limit: &RateLimit, now: u64) -> bool {
        let (next, fits) = self.judge(client, limit, now);
        if fits {
            if self.due.len() >= CLIENTS && !self.due.contains_key(&client) {
                self.make_room(now);
            }
            self.due.insert(client, next);
        }
        fits
    }

    /// The same question without consequences.
    pub(crate) fn would_admit(&self, client: IpAddr, limit: &RateLimit, now: u64) -> bool {
        self.judge(client, limit, now).1
    }

    fn judge(&self, client: IpAddr, limit: &RateLimit, now: u64) -> (u64, bool) {
        let interval = u64::try_from(limit.interval.as_nanos()).unwrap_or(u64::MAX);
        let due = self.due.get(&client).copied().unwrap_or(0).max(now);
        let next = due.saturating_add(interval);
        (next, next - now <= interval.saturating_mul(limit.burst.max(1).into()))
    }

    /// Clients whose next flow is due have nothing to be remembered for; if there are none such, somebody is forgotten.
    fn make_room(&mut self, now: u64) {
        self.due.retain(|_, due| *due > now);
        if self.due.len() >= CLIENTS
            && let Some(any) = self.due.keys().next().copied()
        {
            self.due.remove(&any);
        }
    }
}

/// Which backend a client was last given.
#[derive(Debug, Default)]
pub(crate) struct Affinities {
    last: HashMap<IpAddr, (Arc<LiveBackend>, u32)>,
}

impl Affinities {
    /// The client's backend, if it was seen within `timeout` (milliseconds).
    pub(crate) fn get(&self, client: IpAddr, now: u32, timeout: u32) -> Option<Arc<LiveBackend>> {
        self.last.get(&client).filter(|(_, seen)| age(now, *seen) <= timeout).map(|(b, _)| b.clone())
    }

    pub(crate) fn set(&mut self, client: IpAddr, backend: &Arc<LiveBackend>, now: u32, timeout: u32) {
        if self.last.len() >= CLIENTS && !self.last.contains_key(&client) {
            self.forget(now, timeout);
        }
        self.last.insert(client, (backend.clone(), now));
    }

    /// A flow of the client still carries traffic.
    pub(crate) fn touch(&mut self, client: IpAddr, backend: &Arc<LiveBackend>, now: u32) {
        if let Some((held, seen)) = self.last.get_mut(&client)
            && Arc::ptr_eq(held, backend)
        {
            *seen = now;
        }
    }

    /// Forgets clients not seen within `timeout`; if all were, whoever comes first.
    fn forget(&mut self, now: u32, timeout: u32) {
        self.last.retain(|_, (_, seen)| age(now, *seen) <= timeout);
        if self.last.len() >= CLIENTS
            && let Some(any) = self.last.keys().next().copied()
        {
            self.last.remove(&any);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_then_the_rate() {
        let limit = RateLimit { interval: Duration::from_millis(10), burst: 5 };
        let client = IpAddr::from([192, 0, 2, 1]);
        let mut rates = Rates::default();
        let burst = (0..20).filter(|_| rates.admit(client, &limit, 1_000)).count();
        assert_eq!(burst, 5);
        let mut admitted = 0;
        for ms in 1..=1000u64 {
            admitted += usize::from(rates.admit(client, &limit, 1_000 + ms * 1_000_000));
        }
        assert_eq!(admitted, 100, "one per 10 ms over a second");
        assert!(rates.admit(IpAddr::from([192, 0, 2, 2]), &limit, 1_000), "clients are apart");
    }

    #[test]
    fn the_table_is_bounded() {
        let limit = RateLimit { interval: Duration::from_secs(10), burst: 1 };
        let mut rates = Rates::default();
        for n in 0..CLIENTS as u32 + 100 {
            assert!(rates.admit(std::net::Ipv4Addr::from(n).into(), &limit, 5));
        }
        assert!(rates.due.len() <= CLIENTS);
    }
}
