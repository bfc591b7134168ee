//! Why a packet was passed, forwarded, answered or dropped: one table with numbers, names and help.
//!
//! Numbers are append-only: they are indices of pinned counters and stand in scripts. A test freezes them.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $n:literal, $text:literal, $verdict:ident, $help:literal;)+) => {
        /// Why a verdict was reached.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $( $(#[$doc])* #[doc = $help] $name = $n, )+ }

        impl Reason {
            pub const ALL: &'static [Self] = &[$(Self::$name),+];
            /// The name used in counters, JSON, `lb explain` and logs.
            #[must_use]
            pub const fn name(self) -> &'static str { match self { $(Self::$name => $text),+ } }
            /// One sentence for an operator.
            #[must_use]
            pub const fn help(self) -> &'static str { match self { $(Self::$name => $help),+ } }
            #[must_use]
            pub const fn verdict(self) -> Verdict { match self { $(Self::$name => Verdict::$verdict),+ } }
            #[must_use]
            pub const fn from_index(n: u32) -> Option<Self> { match n { $($n => Some(Self::$name),)+ _ => None } }
        }
    };
}

/// What happens to the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Up to the kernel, untouched.
    Pass,
    /// On to a backend, or a backend's answer back to the client.
    Forward,
    /// Answered by the balancer itself (ICMP echo, TCP reset).
    Respond,
    Drop,
}

reasons! {
    NotOurs = 0, "not_ours", Pass, "the packet belongs to no service";
    Forwarded = 1, "forwarded", Forward, "client to backend";
    Returned = 2, "returned", Forward, "backend to client";
    EchoReply = 3, "echo_reply", Respond, "an ICMP echo request to a service's address, answered here";
    Reset = 4, "reset", Respond, "the flow's backend is gone; both ends are told by a TCP reset";
    IcmpForwarded = 5, "icmp_forwarded", Forward, "an ICMP error about a flow, sent on with its quote rewritten";
    Denied = 6, "denied", Drop, "the source is not in allow, or is in deny";
    RateLimited = 7, "rate_limited", Drop, "the source opens flows faster than rate_limit allows";
    NoBackend = 8, "no_backend", Drop, "the pool has no backend that takes new flows";
    NatExhausted = 9, "nat_exhausted", Drop, "no free source port towards the backend; add snat_addresses";
    FlowTableFull = 10, "flow_table_full", Drop, "the flow table is full; raise flow_table_size";
    Malformed = 11, "malformed", Drop, "truncated, or lengths that contradict one another";
    Fragment = 12, "fragment", Drop, "an IP fragment; fragments carry no ports and are not balanced";
    TooBig = 13, "too_big", Drop, "does not fit the backend's path after encapsulation";
    NoNeighbour = 14, "no_neighbour", Drop, "the backend's next hop has no known MAC address yet";
    NoFlow = 15, "no_flow", Drop, "a TCP packet in mid-stream that belongs to no known flow";
    UnknownQuote = 16, "unknown_quote", Pass, "an ICMP error that quotes no known flow";
    Unsupported = 17, "unsupported", Drop, "a protocol or header chain to a service that is not understood";
    NoRoom = 18, "no_room", Drop, "the driver left no room to grow the packet";
    BackendGone = 19, "backend_gone", Drop, "the flow's backend was removed";
    ConnectFailed = 20, "connect_failed", Drop, "no backend accepted the connection (userspace data plane)";
    Congested = 21, "congested", Drop, "a socket had no room for the datagram (userspace data plane)";
}

/// Counters are laid out with room for this many reasons per service.
pub const REASON_SLOTS: u32 = 32;
const _: () = assert!(Reason::ALL.len() <= REASON_SLOTS as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, string::String};

    #[test]
    fn numbers_are_frozen() {
        let table: String = Reason::ALL.iter().map(|r| format!("{} {}\n", *r as u32, r.name())).collect();
        assert_eq!(
            table,
            "0 not_ours\n1 forwarded\n2 returned\n3 echo_reply\n4 reset\n5 icmp_forwarded\n6 denied\n7 rate_limited\n\
             8 no_backend\n9 nat_exhausted\n10 flow_table_full\n11 malformed\n12 fragment\n13 too_big\n\
             14 no_neighbour\n15 no_flow\n16 unknown_quote\n17 unsupported\n18 no_room\n19 backend_gone\n\
             20 connect_failed\n21 congested\n"
        );
        for r in Reason::ALL {
            assert_eq!(Reason::from_index(*r as u32), Some(*r));
        }
    }
}
