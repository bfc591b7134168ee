//! Names and sizes of the kernel's maps: the list that `lb-ebpf` declares, the user's half opens and pins.
//!
//! | map | kind | key | value | written by |
//! |---|---|---|---|---|
//! | `SETTINGS` | array, 1 | – | [`Settings`] | user |
//! | `SERVICES4`, `SERVICES6` | hash | `ServiceKey4/6` | service number `u32` | user |
//! | `SERVICE` | array | service number | `Service` | user |
//! | `ADDRESSES` | hash | `Addr` | `service::address` bits `u32` | user |
//! | `RANGES` | LPM trie | `RangeKey` | 1 let in, 0 refused | user |
//! | `POOLS` | array of arrays | pool number | table of `u32`, see [`crate::pool`] | user |
//! | `CURSORS` | array | pool number | turns taken `u64` | kernel |
//! | `BACKENDS` | array | backend number | `Backend` | user |
//! | `LOADS` | array | backend number | `Load` | kernel |
//! | `REAPED` | array | backend number | flows aged out `u64` | user |
//! | `SNAT` | array | position | `Addr` | user |
//! | `LINKS` | hash | interface index `u32` | [`Link`] | user |
//! | `FLOWS4`, `FLOWS6` | hash | `FlowKey4/6` | `Flow` | kernel; user removes |
//! | `FRESH4`, `FRESH6` | LRU hash | `FlowKey4/6` | `Flow` | kernel; user removes |
//! | `AFFINITY` | LRU hash | `ClientKey` | `Affinity` | kernel |
//! | `RATES` | LRU hash | `ClientKey` | theoretical arrival time `u64`, ns | kernel |
//! | `SVC_TRAFFIC` | per-CPU array | service number | `Traffic` | kernel |
//! | `BE_TRAFFIC` | per-CPU array | backend number | `Traffic` | kernel |
//! | `VERDICTS` | per-CPU array | service number × `REASON_SLOTS` + reason | `u64` | kernel |

use crate::plain::plain;

/// Every map, in the order in which they are pinned.
pub const ALL: [&str; 22] = [
    "SETTINGS",
    "SERVICES4",
    "SERVICES6",
    "SERVICE",
    "ADDRESSES",
    "RANGES",
    "POOLS",
    "CURSORS",
    "BACKENDS",
    "LOADS",
    "REAPED",
    "SNAT",
    "LINKS",
    "FLOWS4",
    "FLOWS6",
    "FRESH4",
    "FRESH6",
    "AFFINITY",
    "RATES",
    "SVC_TRAFFIC",
    "BE_TRAFFIC",
    "VERDICTS",
];

/// What holds for the whole host.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// [`crate::layout::VERSION`] of whoever made the maps.
    pub layout: u32,
    /// Source ports of NAT: `nat_first .. nat_first + nat_count`, in host order, outside the host's ephemeral range.
    pub nat_first: u16,
    pub nat_count: u16,
}
plain!(Settings, 8, { layout: u32, nat_first: u16, nat_count: u16 });

/// One of our interfaces.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    pub mac: [u8; 6],
    pub reserved: u16,
}
plain!(Link, 8, { mac: [u8; 6], reserved: u16 });

/// Entries of the flow tables for a `flow_table_size` of `flows`: a NAT flow takes two. Fresh flows get a quarter beside.
#[must_use]
pub const fn flow_entries(flows: u32) -> u32 {
    flows.saturating_mul(2)
}

/// Entries of the fresh tables for a `flow_table_size` of `flows`.
#[must_use]
pub const fn fresh_entries(flows: u32) -> u32 {
    let quarter = flows / 2;
    if quarter < 2048 { 2048 } else { quarter }
}
