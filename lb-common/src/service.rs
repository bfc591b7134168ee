//! Services: who listens where, and how its packets are treated.

use crate::net::{Addr, Be16, Be32};
use crate::plain::plain;

/// (address, port, protocol) of an IPv4 service. A port range is written out, one key a port: a packet then needs one
/// look-up whatever the range.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceKey4 {
    pub addr: Be32,
    pub port: Be16,
    pub protocol: u16,
}
plain!(ServiceKey4, 8, { addr: Be32, port: Be16, protocol: u16 });

/// (address, port, protocol) of an IPv6 service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceKey6 {
    pub addr: Addr,
    pub port: Be16,
    pub protocol: u16,
}
plain!(ServiceKey6, 20, { addr: Addr, port: Be16, protocol: u16 });

/// One service; indexed by its number, 1 and up. Number 0 stands for "no service" in counters.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    pub vip: Addr,
    /// Emission interval of `rate_limit` in nanoseconds per new flow; 0: no limit.
    pub rate_interval_ns: u64,
    /// How far a client may run ahead of its rate, in nanoseconds (GCRA's τ).
    pub rate_tolerance_ns: u64,
    /// Index into the pools.
    pub pool: u32,
    /// Idle time of an established flow, in ticks.
    pub idle_timeout: u32,
    /// How long a client stays with its backend, in ticks.
    pub affinity_timeout: u32,
    /// First and last port.
    pub port_first: Be16,
    pub port_last: Be16,
    pub protocol: u8,
    /// A [`forward`] constant.
    pub forward: u8,
    /// A [`algorithm`] constant.
    pub algorithm: u8,
    /// [`flag`] bits.
    pub flags: u8,
    /// Largest TCP MSS let through in a SYN; 0: untouched.
    pub mss: u16,
    pub reserved: u16,
}
plain!(Service, 56, {
    vip: Addr, rate_interval_ns: u64, rate_tolerance_ns: u64, pool: u32, idle_timeout: u32, affinity_timeout: u32,
    port_first: Be16, port_last: Be16, protocol: u8, forward: u8, algorithm: u8, flags: u8, mss: u16, reserved: u16,
});

pub mod forward {
    pub const NAT: u8 = 1;
    pub const DSR: u8 = 2;
    // 3 and 4 are kept for IPIP and GUE.
    pub const IPIP: u8 = 3;
    pub const GUE: u8 = 4;
}

pub mod algorithm {
    pub const MAGLEV: u8 = 1;
    pub const SOURCE_HASH: u8 = 2;
    pub const ROUND_ROBIN: u8 = 3;
    pub const WEIGHTED_ROUND_ROBIN: u8 = 4;
    pub const LEAST_CONNECTIONS: u8 = 5;
    pub const RANDOM: u8 = 6;
}

pub mod flag {
    /// `affinity = "client-ip"`.
    pub const AFFINITY: u8 = 1;
    /// The service has source ranges.
    pub const RANGES: u8 = 2;
    /// Every flow gets an entry in the flow table. Always set today; a service under a consistent hash may do without.
    pub const TRACKED: u8 = 4;
}

/// Key of the source ranges (longest-prefix match): the service's number, then the client's address. Prefix lengths
/// count from the start of `service`, so 32 + the length in the mapped address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RangeKey {
    pub service: u32,
    pub client: Addr,
}
plain!(RangeKey, 20, { service: u32, client: Addr });

/// What an address of ours is for; value of the addresses map.
pub mod address {
    /// A service listens on it: echo is answered, fragments are counted.
    pub const VIP: u32 = 1;
    /// NAT sends from it.
    pub const SNAT: u32 = 2;
}

/// Counters of one service or backend, one copy per CPU. Layer-3 bytes, client → backend.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub packets: u64,
    pub bytes: u64,
    pub flows: u64,
}
plain!(Traffic, 24, { packets: u64, bytes: u64, flows: u64 });
