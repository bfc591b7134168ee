//! The tables that packets meet, in plain types: services, pools, backends. Published to the kernel by
//! [`super::program`] and read directly by [`super::reference`].

use std::net::IpAddr;

use lb_common::backend::flag;
use lb_common::maglev::{self, Member};
use lb_common::service::{algorithm, forward};
use lb_common::wrr;

use super::cast::{Family, HERE, backend_mac};
use super::layers::Mac;

/// Numbers of services, pools and backends are positions in these lists plus one; 0 is nobody.
#[derive(Clone, Debug)]
pub struct World {
    /// Source ports of NAT: first, and how many.
    pub nat_ports: (u16, u16),
    /// `flow_table_size`.
    pub flows: u32,
    /// Source addresses of NAT; backends name runs of them.
    pub snat: Vec<IpAddr>,
    pub services: Vec<Service>,
    pub pools: Vec<Pool>,
    pub backends: Vec<Backend>,
}

#[derive(Clone, Debug)]
pub struct Service {
    pub vip: IpAddr,
    pub ports: (u16, u16),
    pub protocol: u8,
    /// Number of the pool.
    pub pool: u32,
    pub forward: u8,
    /// Seconds a client stays with its backend; `None`: no affinity.
    pub affinity: Option<u32>,
    pub idle_seconds: u32,
    pub mss: u16,
    /// Nanoseconds per new flow, and how many may come at once.
    pub rate: Option<(u64, u64)>,
    /// Ranges as written out for the kernel: address, length, let in; the longest decides. Empty: everybody.
    pub ranges: Vec<(IpAddr, u8, bool)>,
    /// What happens to a client of no range.
    pub otherwise: bool,
}

#[derive(Clone, Debug)]
pub struct Pool {
    pub algorithm: u8,
    /// Numbers of the backends that belong to it, eligible or not.
    pub members: Vec<u32>,
    pub table_size: u32,
}

#[derive(Clone, Copy, Debug)]
pub struct Backend {
    pub ip: IpAddr,
    /// 0: the packet's port is kept.
    pub port: u16,
    pub weight: u16,
    pub ifindex: u32,
    pub mac: Mac,
    /// MAC of our interface towards it.
    pub our_mac: Mac,
    pub flags: u32,
    /// Positions in [`World::snat`]: first and how many.
    pub snat: (u16, u16),
}

/// What a healthy backend's flags are.
pub const HEALTHY: u32 = flag::EXISTS | flag::ELIGIBLE | flag::REACHABLE;
/// Unhealthy: gets nothing new.
pub const UNHEALTHY: u32 = flag::EXISTS | flag::DOWN | flag::REACHABLE;
/// Draining: keeps what it has.
pub const DRAINING: u32 = flag::EXISTS | flag::REACHABLE;
/// Drained by force: its deadline has passed.
pub const EXPIRED: u32 = flag::EXISTS | flag::EXPIRED | flag::REACHABLE;

impl World {
    /// A world of one service with `n` backends of weight 1 on port 8080, listening on port 80.
    #[must_use]
    pub fn one(family: Family, protocol: u8, how: u8, n: u8) -> Self {
        let port = if how == forward::NAT { 8080 } else { 0 };
        let backends = (1..=n).map(|i| Backend {
            ip: family.backend(i),
            port,
            weight: 1,
            ifindex: HERE,
            mac: backend_mac(u32::from(i)),
            our_mac: super::cast::BALANCER,
            flags: HEALTHY,
            snat: (0, 1),
        });
        Self {
            nat_ports: (20_000, 10_000),
            flows: 4096,
            snat: vec![family.snat(1)],
            services: vec![Service {
                vip: family.vip(),
                ports: (80, 80),
                protocol,
                pool: 1,
                forward: how,
                affinity: None,
                idle_seconds: 300,
                mss: 0,
                rate: None,
                ranges: Vec::new(),
                otherwise: true,
            }],
            pools: vec![Pool { algorithm: algorithm::MAGLEV, members: (1..=u32::from(n)).collect(), table_size: 251 }],
            backends: backends.collect(),
        }
    }

    #[must_use]
    pub fn algorithm(mut self, a: u8) -> Self {
        self.pools[0].algorithm = a;
        self
    }

    /// Changes the first service.
    #[must_use]
    pub fn service(mut self, change: impl FnOnce(&mut Service)) -> Self {
        change(&mut self.services[0]);
        self
    }

    /// Changes every backend.
    #[must_use]
    pub fn every_backend(mut self, change: impl FnMut(&mut Backend)) -> Self {
        self.backends.iter_mut().for_each(change);
        self
    }

    #[must_use]
    pub fn nat_ports(mut self, first: u16, count: u16) -> Self {
        self.nat_ports = (first, count);
        self
    }

    /// Members of a pool that take new flows.
    #[must_use]
    pub fn eligible(&self, pool: u32) -> Vec<u32> {
        let takes = |n: &u32| {
            let b = &self.backends[*n as usize - 1];
            b.flags & flag::ELIGIBLE != 0 && b.weight > 0
        };
        self.pools[pool as usize - 1].members.iter().copied().filter(takes).collect()
    }

    /// The slots of a pool, as `lb_common::pool` defines them for its algorithm.
    #[must_use]
    pub fn slots(&self, pool: u32) -> Vec<u32> {
        let members = self.eligible(pool);
        let weight = |n: &u32| self.backends[*n as usize - 1].weight;
        let weights: Vec<u16> = members.iter().map(weight).collect();
        let p = &self.pools[pool as usize - 1];
        let places = match p.algorithm {
            algorithm::ROUND_ROBIN => return members,
            algorithm::WEIGHTED_ROUND_ROBIN | algorithm::LEAST_CONNECTIONS => wrr::sequence(&weights),
            _ => {
                let identity = |n: &u32| maglev::identity(self.backends[*n as usize - 1].ip.to_string().as_bytes());
                let of = |n: &u32| Member { identity: identity(n), weight: weight(n) };
                maglev::table(&members.iter().map(of).collect::<Vec<_>>(), p.table_size)
            }
        };
        places.into_iter().map(|i| members[i as usize]).collect()
    }

    /// The pool's table as the kernel reads it: count, slots, and for least connections the members.
    #[must_use]
    pub fn table(&self, pool: u32) -> Vec<u32> {
        let slots = self.slots(pool);
        let mut words = vec![u32::try_from(slots.len()).expect("a table of ordinary size")];
        words.extend(slots);
        if self.pools[pool as usize - 1].algorithm == algorithm::LEAST_CONNECTIONS {
            let members = self.eligible(pool);
            words.push(u32::try_from(members.len()).expect("a pool of ordinary size"));
            words.extend(members);
        }
        words
    }
}
