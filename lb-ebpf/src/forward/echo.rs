//! ICMP echo to a service's address is answered here: the address need not exist on this host.

use aya_ebpf::programs::XdpContext;
use lb_common::checksum::{replace16, update};

use crate::emit;
use crate::packet::header::{Icmp, Ipv4, Ipv6};
use crate::packet::{Packet, access};

/// RFC 792.
pub const REQUEST4: u8 = 8;
const REPLY4: u8 = 0;
/// RFC 4443 §4.
pub const REQUEST6: u8 = 128;
const REPLY6: u8 = 129;

/// Turns an echo request into its reply, in place.
#[inline(always)]
pub fn answer(ctx: &XdpContext, packet: &Packet) -> Option<()> {
    let icmp = access::at::<Icmp>(ctx, packet.l4)?;
    // SAFETY: `at` checked the bounds of the header.
    let icmp = unsafe { &mut *icmp };
    let reply = if packet.v4 { REPLY4 } else { REPLY6 };
    // Type and code are one word of the sum; the update carries around its end.
    let word = |kind: u8| u16::from_ne_bytes([kind, icmp.code]);
    let check = update(icmp.check, replace16(word(icmp.kind), word(reply)));
    // A reply of nothing but zeros has the sum +0, which the update cannot tell from -0 (RFC 1624 §3): all ones are right
    // for both.
    icmp.check = if check == 0 { 0xffff } else { check };
    icmp.kind = reply;
    swap_addresses(ctx, packet)?;
    emit::back(ctx)
}

/// Swaps source and destination; neither the header's nor a pseudo-header's sum changes.
#[inline(always)]
pub fn swap_addresses(ctx: &XdpContext, packet: &Packet) -> Option<()> {
    if packet.v4 {
        let ip = access::at::<Ipv4>(ctx, packet.l3)?;
        // SAFETY: `at` checked the bounds of the header.
        let ip = unsafe { &mut *ip };
        (ip.src, ip.dst) = (ip.dst, ip.src);
    } else {
        let ip = access::at::<Ipv6>(ctx, packet.l3)?;
        // SAFETY: `at` checked the bounds of the header.
        let ip = unsafe { &mut *ip };
        (ip.src, ip.dst) = (ip.dst, ip.src);
    }
    Some(())
}
