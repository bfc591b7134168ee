//! Stage 3, whose is it: (address, port, protocol) → service; and is an address one of ours.

use lb_common::flow::FlowKey6;
use lb_common::net::Addr;
use lb_common::service::{ServiceKey4, ServiceKey6, address};

use crate::maps::{ADDRESSES, SERVICES4, SERVICES6};

/// The number of the service that a packet with this destination belongs to; 0: none.
#[inline(always)]
pub fn find(tuple: &FlowKey6, v4: bool) -> u32 {
    let protocol = tuple.protocol as u16;
    let number = if v4 {
        let key = ServiceKey4 { addr: tuple.dst.as_v4(), port: tuple.dst_port, protocol };
        // SAFETY: entries are written by user space alone and read at once.
        unsafe { SERVICES4.get(key) }
    } else {
        let key = ServiceKey6 { addr: tuple.dst, port: tuple.dst_port, protocol };
        // SAFETY: entries are written by user space alone and read at once.
        unsafe { SERVICES6.get(key) }
    };
    number.copied().unwrap_or(0)
}

/// What an address is to us: `lb_common::service::address` bits.
#[inline(always)]
pub fn role(addr: &Addr) -> u32 {
    // SAFETY: entries are written by user space alone and read at once.
    unsafe { ADDRESSES.get(addr) }.copied().unwrap_or(0)
}

#[inline(always)]
pub fn is_vip(addr: &Addr) -> bool {
    role(addr) & address::VIP != 0
}
