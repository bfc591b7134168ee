//! IPv6 (RFC 8200), with a bounded walk over extension headers.

use aya_ebpf::programs::XdpContext;
use lb_common::net::Addr;
use lb_common::reason::Reason;

use super::header::{Extension, Ipv6};
use super::{Packet, Parsed, access, transport};

/// Extension headers walked at most; RFC 8504 §5.3 lets a node set such a limit.
const MAX_EXTENSIONS: usize = 6;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

#[inline(always)]
pub fn parse(ctx: &XdpContext, l3: usize, packet: &mut Packet) -> Parsed {
    let Some(ip) = access::at::<Ipv6>(ctx, l3) else { return Parsed::Other };
    // SAFETY: `at` checked the bounds of the header.
    let ip = unsafe { &*ip };
    packet.tuple.src = Addr(ip.src);
    packet.tuple.dst = Addr(ip.dst);
    packet.v4 = false;
    let len = 40 + u16::from_be(ip.payload_length) as usize;
    let available = access::length(ctx) - l3;
    if ip.version_class_flow & 0xf0_u32.to_le() != 0x60_u32.to_le() || len > available {
        return Parsed::Bad(Reason::Malformed);
    }
    let end = l3 + len;
    let (protocol, l4) = match walk(ctx, ip.next_header, l3 + 40, end) {
        Ok(found) => found,
        Err(reason) => return Parsed::Bad(reason),
    };
    packet.tuple.protocol = u32::from(protocol);
    packet.len = len as u32;
    packet.l4 = l4;
    transport::parse(ctx, packet, protocol, l4, end - l4)
}

/// The upper-layer protocol and its offset.
#[inline(always)]
fn walk(ctx: &XdpContext, mut next: u8, mut offset: usize, end: usize) -> Result<(u8, usize), Reason> {
    for _ in 0..MAX_EXTENSIONS {
        match next {
            HOP_BY_HOP | ROUTING | DESTINATION | AUTHENTICATION => {
                if offset + 8 > end {
                    return Err(Reason::Malformed);
                }
                let Some(ext) = access::read::<Extension>(ctx, offset) else { return Err(Reason::Malformed) };
                // On a source route the packet is not at its destination yet, and its checksum is over another one.
                if next == ROUTING && ext.segments_left != 0 {
                    return Err(Reason::Unsupported);
                }
                // RFC 8200 §4.3 counts in 8 bytes beyond the first 8; RFC 4302 §2.2 in 4 bytes minus 2.
                let length = if next == AUTHENTICATION {
                    (usize::from(ext.length) + 2) * 4
                } else {
                    (usize::from(ext.length) + 1) * 8
                };
                next = ext.next_header;
                offset += length;
                if offset > end {
                    return Err(Reason::Malformed);
                }
                if offset > MAX_OFFSET {
                    return Err(Reason::Unsupported);
                }
            }
            FRAGMENT => return Err(Reason::Fragment),
            _ => return Ok((next, offset)),
        }
    }
    match next {
        HOP_BY_HOP | ROUTING | DESTINATION | AUTHENTICATION => Err(Reason::Unsupported),
        FRAGMENT => Err(Reason::Fragment),
        _ => Ok((next, offset)),
    }
}

/// Upper-layer headers that begin further in are not looked for.
const MAX_OFFSET: usize = 512;
