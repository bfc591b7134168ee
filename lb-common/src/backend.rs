//! Backends: where packets go, and how many flows each holds.

use crate::net::{Addr, Be16};
use crate::plain::plain;

/// One backend of one pool; indexed by its number, 1 and up.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    pub addr: Addr,
    /// 0: the packet's own port is kept.
    pub port: Be16,
    pub weight: u16,
    /// Egress interface.
    pub ifindex: u32,
    /// Next hop's MAC and ours.
    pub dst_mac: [u8; 6],
    pub src_mac: [u8; 6],
    /// [`flag`] bits; 0: no such backend.
    pub flags: u32,
    /// Source addresses of NAT towards it: a run in the snat array.
    pub snat_first: u16,
    pub snat_count: u16,
    /// Largest layer-3 packet that its path takes.
    pub mtu: u32,
}
plain!(Backend, 48, {
    addr: Addr, port: Be16, weight: u16, ifindex: u32, dst_mac: [u8; 6], src_mac: [u8; 6], flags: u32,
    snat_first: u16, snat_count: u16, mtu: u32,
});

pub mod flag {
    pub const EXISTS: u32 = 1;
    /// Takes new flows (healthy, not draining, weight > 0). The pool's table says the same; this bit is what affinity asks.
    pub const ELIGIBLE: u32 = 2;
    /// Unhealthy: UDP flows are scheduled anew, TCP flows stay, a new SYN goes elsewhere.
    pub const DOWN: u32 = 4;
    /// Its drain deadline has passed: UDP flows are scheduled anew and TCP flows are reset.
    pub const EXPIRED: u32 = 8;
    /// The next hop is resolved.
    pub const REACHABLE: u32 = 16;
}

/// How many flows a backend has been given and has finished, as the kernel saw it. Active flows are
/// `opened - closed - reaped`, the last being the user half's own count of flows it aged out: each of the three has one
/// kind of writer, so none is ever lost.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    pub opened: u64,
    pub closed: u64,
}
plain!(Load, 16, { opened: u64, closed: u64 });
