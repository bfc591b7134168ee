//! The model's services and backends as the kernel's values.

use lb_common::backend::{Backend, flag as backend_flag};
use lb_common::net::{Addr, Be16};
use lb_common::service::{Service as Value, algorithm, flag, forward};
use lb_common::time::ticks_of_millis;
use lb_model::service::Affinity;
use lb_model::{Algorithm, Service};

use super::hops::Hop;
use crate::plan::{Condition, Member};

/// A service's entry; `pool` is its pool's number.
#[must_use]
pub fn service(s: &Service, pool: u32, by: Algorithm) -> Value {
    let millis = |d: std::time::Duration| ticks_of_millis(u64::try_from(d.as_millis()).unwrap_or(u64::MAX / 2_000_000));
    let nanos = |d: std::time::Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    let affinity = match s.affinity {
        Affinity::None => None,
        Affinity::ClientIp { timeout } => Some(timeout),
    };
    let ranges = !(s.allow.is_empty() && s.deny.is_empty());
    Value {
        vip: Addr::from(s.listen.address),
        rate_interval_ns: s.rate_limit.map_or(0, |r| nanos(r.interval).max(1)),
        rate_tolerance_ns: s.rate_limit.map_or(0, |r| nanos(r.interval).max(1).saturating_mul(u64::from(r.burst))),
        pool,
        idle_timeout: millis(s.idle_timeout),
        affinity_timeout: affinity.map_or(0, millis),
        port_first: Be16::from_host(s.listen.ports.first()),
        port_last: Be16::from_host(s.listen.ports.last()),
        protocol: s.listen.protocol.number(),
        forward: match s.forward {
            lb_model::service::Forward::Nat => forward::NAT,
            lb_model::service::Forward::Dsr => forward::DSR,
        },
        algorithm: of_algorithm(by),
        flags: flag::TRACKED
            | if affinity.is_some() { flag::AFFINITY } else { 0 }
            | if ranges { flag::RANGES } else { 0 },
        mss: match s.mss_clamp {
            lb_model::service::MssClamp::Bytes(n) => n,
            _ => 0,
        },
        reserved: 0,
    }
}

#[must_use]
pub const fn of_algorithm(a: Algorithm) -> u8 {
    match a {
        Algorithm::Maglev => algorithm::MAGLEV,
        Algorithm::SourceHash => algorithm::SOURCE_HASH,
        Algorithm::RoundRobin => algorithm::ROUND_ROBIN,
        Algorithm::WeightedRoundRobin => algorithm::WEIGHTED_ROUND_ROBIN,
        Algorithm::LeastConnections => algorithm::LEAST_CONNECTIONS,
        Algorithm::Random => algorithm::RANDOM,
    }
}

/// A backend's entry: what the plan says of it and how it is reached. `snat` is the run of its source addresses.
#[must_use]
pub fn backend(m: &Member, hop: Option<&Hop>, snat: (u16, u16)) -> Backend {
    let condition = match m.condition {
        Condition::Up => 0,
        Condition::Down => backend_flag::DOWN,
        Condition::Expired => backend_flag::EXPIRED,
    };
    let eligible = if m.eligible && m.weight.get() > 0 { backend_flag::ELIGIBLE } else { 0 };
    let dst_mac = hop.and_then(|h| h.dst_mac);
    let reachable = if dst_mac.is_some() { backend_flag::REACHABLE } else { 0 };
    Backend {
        addr: Addr::from(m.ip),
        port: Be16::from_host(m.port.unwrap_or(0)),
        weight: m.weight.get(),
        ifindex: hop.map_or(0, |h| h.ifindex),
        dst_mac: dst_mac.unwrap_or_default(),
        src_mac: hop.map(|h| h.src_mac).unwrap_or_default(),
        flags: backend_flag::EXISTS | condition | eligible | reachable,
        snat_first: snat.0,
        snat_count: snat.1,
        mtu: hop.map_or(0, |h| h.mtu),
    }
}
