//! The flow table's keys and values.
//!
//! A flow is known by the packets of one direction: client → VIP under the *forward* key, and, with NAT, backend → source
//! address under the *reply* key. Both halves carry a whole [`Flow`], so that one look-up serves a packet.
//!
//! Two tables per family hold them. *Fresh* flows (a TCP handshake under way, a UDP client not yet answered) live in an
//! LRU table that evicts the oldest when it is full; *established* ones are moved to a plain hash table that nothing but
//! ageing empties. So a flood of new flows pushes out other new flows and never an established one.

use crate::net::{Addr, Be16, Be32};
use crate::plain::plain;

/// Source and destination as they stand in the packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey4 {
    pub src: Be32,
    pub dst: Be32,
    pub src_port: Be16,
    pub dst_port: Be16,
    /// IP protocol number; a word, so that the key has no padding.
    pub protocol: u32,
}
plain!(FlowKey4, 16, { src: Be32, dst: Be32, src_port: Be16, dst_port: Be16, protocol: u32 });

/// Source and destination as they stand in the packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey6 {
    pub src: Addr,
    pub dst: Addr,
    pub src_port: Be16,
    pub dst_port: Be16,
    pub protocol: u32,
}
plain!(FlowKey6, 40, { src: Addr, dst: Addr, src_port: Be16, dst_port: Be16, protocol: u32 });

/// One direction of a flow.
///
/// Written without a lock by whichever CPU carries the packet. A flow's direction stays on one CPU unless receive
/// steering changes; two CPUs may then lose one packet's count or one stamp. Nothing else depends on them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Packets and layer-3 bytes of this direction.
    pub packets: u64,
    pub bytes: u64,
    /// [`crate::time::ticks`] of the last packet and of the first.
    pub last_seen: u32,
    pub created: u32,
    /// Index into the backends.
    pub backend: u32,
    /// Index into the services.
    pub service: u16,
    /// A [`state`] constant.
    pub state: u8,
    /// A [`side`] constant.
    pub side: u8,
    /// Forward half of NAT: the source address packets leave with. Reply half: the client's address.
    pub peer: Addr,
    /// Forward half of NAT: the source port claimed for the flow. Reply half: the client's port.
    pub peer_port: Be16,
    /// The port of the service that the client talks to.
    pub vip_port: Be16,
    /// Reply half: where the client's packets came from, and where answers go.
    pub mac: [u8; 6],
    /// `seen::*` bits.
    pub seen: u16,
    /// Reply half: the interface of `mac`.
    pub ifindex: u32,
}
plain!(Flow, 64, {
    packets: u64, bytes: u64, last_seen: u32, created: u32, backend: u32, service: u16, state: u8, side: u8, peer: Addr,
    peer_port: Be16, vip_port: Be16, mac: [u8; 6], seen: u16, ifindex: u32,
});

pub mod side {
    /// Client → VIP.
    pub const FORWARD: u8 = 0;
    /// Backend → source address of NAT.
    pub const REPLY: u8 = 1;
}

/// Where a flow stands. TCP per RFC 9293 §3.3.2 as far as an observer can tell.
pub mod state {
    /// TCP: a SYN was seen, nothing else. UDP: the client has spoken, the backend has not.
    pub const FRESH: u8 = 1;
    /// TCP: the backend's SYN-ACK was seen (NAT only).
    pub const ANSWERED: u8 = 2;
    pub const ESTABLISHED: u8 = 3;
    /// One side has sent its FIN.
    pub const HALF_CLOSED: u8 = 4;
    /// Both sides have sent their FIN; with DSR, where only the client is seen, its FIN and nothing since.
    pub const CLOSED: u8 = 5;
    /// A RST was seen.
    pub const RESET: u8 = 6;

    #[must_use]
    pub const fn name(s: u8) -> &'static str {
        match s {
            FRESH => "new",
            ANSWERED => "answered",
            ESTABLISHED => "established",
            HALF_CLOSED => "half-closed",
            CLOSED => "closed",
            RESET => "reset",
            _ => "unknown",
        }
    }
    /// Does the flow still count as active on its backend?
    #[must_use]
    pub const fn is_active(s: u8) -> bool {
        s < CLOSED
    }
}

/// Bits of [`Flow::seen`].
pub mod seen {
    pub const FIN_CLIENT: u16 = 1;
    pub const FIN_BACKEND: u16 = 2;
    /// The flow was counted as opened on its backend and not yet as closed.
    pub const COUNTED: u16 = 4;
}

/// How long a flow may be idle by its state, in milliseconds, where the service does not say.
pub mod timeout {
    pub const FRESH_TCP: u64 = 30_000;
    pub const FRESH_UDP: u64 = 30_000;
    pub const HALF_CLOSED: u64 = 120_000;
    pub const CLOSED: u64 = 10_000;
    pub const RESET: u64 = 2_000;
}

/// Key of client affinity and of rate limits.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientKey {
    pub client: Addr,
    pub service: u32,
}
plain!(ClientKey, 20, { client: Addr, service: u32 });

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Affinity {
    pub backend: u32,
    pub last_seen: u32,
}
plain!(Affinity, 8, { backend: u32, last_seen: u32 });
