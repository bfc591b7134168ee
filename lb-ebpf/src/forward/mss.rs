//! MSS clamping (RFC 9293 §3.7.1): a SYN's largest segment is lowered to what the path to the backend takes.

use aya_ebpf::programs::XdpContext;
use lb_common::checksum::{replace16, update};

use crate::packet::header::Tcp;
use crate::packet::{Packet, access};

const KIND_END: u8 = 0;
const KIND_NOP: u8 = 1;
const KIND_MSS: u8 = 2;

/// Lowers the MSS option to `limit`; a SYN without the option is left alone (its sender takes the default of 536).
#[inline(never)]
pub fn clamp(ctx: &XdpContext, packet: &Packet, limit: u16) {
    let Some(header) = access::read::<Tcp>(ctx, packet.l4) else { return };
    let end = packet.l4 + usize::from(header.data_offset >> 4) * 4;
    let mut at = packet.l4 + 20;
    for _ in 0..10 {
        if at + 4 > end {
            return;
        }
        let Some(option) = access::read::<[u8; 4]>(ctx, at) else { return };
        match option[0] {
            KIND_END => return,
            KIND_NOP => at += 1,
            KIND_MSS => {
                let mss = u16::from_be_bytes([option[2], option[3]]);
                if option[1] == 4 && mss > limit {
                    lower(ctx, packet, at, mss, limit);
                }
                return;
            }
            // Longer than all options can be, or too short to hold its own length: the rest means nothing.
            _ if option[1] < 2 || option[1] > 40 => return,
            _ => at += usize::from(option[1] & 0x3f),
        }
    }
}

#[inline(always)]
fn lower(ctx: &XdpContext, packet: &Packet, at: usize, old: u16, new: u16) {
    let Some(value) = access::at::<[u8; 2]>(ctx, at + 2) else { return };
    // SAFETY: `at` checked the bounds.
    unsafe { *value = new.to_be_bytes() };
    let Some(tcp) = access::at::<Tcp>(ctx, packet.l4) else { return };
    // The sum is taken over 16-bit words; an option at an odd offset straddles two of them, with its bytes swapped.
    let odd = (at - packet.l4) & 1 != 0;
    let word = |v: u16| if odd { v.swap_bytes().to_be() } else { v.to_be() };
    // SAFETY: `at` checked the bounds of the header.
    unsafe { (*tcp).check = update((*tcp).check, replace16(word(old), word(new))) };
}
