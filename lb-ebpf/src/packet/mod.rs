//! Stage 1, parse: from bytes to one [`Packet`] view. Everything read later has been checked here, and nothing is copied
//! but what identifies the flow.

pub mod access;
pub mod header;
mod ipv4;
mod ipv6;
mod transport;

use aya_ebpf::programs::XdpContext;
use lb_common::flow::FlowKey6;
use lb_common::reason::Reason;

/// A parsed packet. Offsets count from the start of the frame.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Packet {
    /// Addresses (IPv4 in mapped form), ports and protocol as they stand in the packet. Ports are 0 for ICMP.
    pub tuple: FlowKey6,
    pub l3: usize,
    pub l4: usize,
    /// Layer-3 bytes: header and payload, without padding of the frame.
    pub len: u32,
    pub v4: bool,
    pub tcp_flags: u8,
}

impl Packet {
    #[inline(always)]
    pub fn protocol(&self) -> u8 {
        self.tuple.protocol as u8
    }
    /// Offset of the first byte after the packet.
    #[inline(always)]
    pub fn end(&self) -> usize {
        self.l3 + self.len as usize
    }
}

/// What parsing came to.
pub enum Parsed {
    /// The view is filled in.
    Packet,
    /// No IP packet, or one whose destination cannot even be read.
    Other,
    /// An IP packet that cannot be balanced; the view has its destination.
    Bad(Reason),
}

const ETH_P_IP: u16 = 0x0800_u16.to_be();
const ETH_P_IPV6: u16 = 0x86dd_u16.to_be();
const ETH_P_8021Q: u16 = 0x8100_u16.to_be();
const ETH_P_8021AD: u16 = 0x88a8_u16.to_be();

/// Parses into `packet`, which lies in map memory: what is read back from there later is one unknown value to the
/// verifier, not one case per combination of tags, options and extension headers.
#[inline(always)]
pub fn parse(ctx: &XdpContext, packet: &mut Packet) -> Parsed {
    let Some((ethertype, l3)) = ethertype(ctx) else { return Parsed::Other };
    packet.l3 = l3;
    packet.tcp_flags = 0;
    match ethertype {
        ETH_P_IP => ipv4::parse(ctx, l3, packet),
        ETH_P_IPV6 => ipv6::parse(ctx, l3, packet),
        _ => Parsed::Other,
    }
}

/// The view, as it lies in memory: the compiler must not go on with what it knows of the values just written.
#[inline(always)]
pub fn settled(packet: &mut Packet) -> &Packet {
    let mut pointer: *mut Packet = packet;
    // SAFETY: moves a register to itself; declared to touch memory, so that later reads are real reads.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) pointer, options(nostack, preserves_flags)) };
    // SAFETY: the pointer just handed in.
    unsafe { &*pointer }
}

/// The EtherType after up to two VLAN tags (IEEE 802.1Q, 802.1ad), and the offset of what follows.
#[inline(always)]
fn ethertype(ctx: &XdpContext) -> Option<(u16, usize)> {
    let outer = access::read::<access::Ethernet>(ctx, 0)?.ethertype;
    if !is_tag(outer) {
        return Some((outer, 14));
    }
    let inner = access::read::<[u16; 2]>(ctx, 14)?[1];
    if !is_tag(inner) {
        return Some((inner, 18));
    }
    Some((access::read::<[u16; 2]>(ctx, 18)?[1], 22))
}

#[inline(always)]
const fn is_tag(ethertype: u16) -> bool {
    ethertype == ETH_P_8021Q || ethertype == ETH_P_8021AD
}
