//! What the measuring wrapper in the kernel and the measuring program in user space agree on: the template packet and the
//! rotation of flows.

use crate::plain::plain;

/// Longest template.
pub const TEMPLATE_BYTES: usize = 96;

/// The packet that every run begins with, and how its flow is rotated.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    pub bytes: [u8; TEMPLATE_BYTES],
    /// Frame length: 64 (IPv4) or 80 (IPv6), Ethernet header included, no VLAN tag.
    pub length: u32,
    /// Number of flows, a power of two; 0: a new one with every packet.
    pub flows: u32,
    /// Offsets of: the client's address (its last four bytes), the client's port, the transport checksum, the IPv4 header
    /// checksum (0: none).
    pub address_at: u32,
    pub port_at: u32,
    pub check_at: u32,
    pub ip_check_at: u32,
}
plain!(Template, 120, {
    bytes: [u8; TEMPLATE_BYTES], length: u32, flows: u32, address_at: u32, port_at: u32, check_at: u32, ip_check_at: u32,
});

/// Ports per client address.
const PORT_BITS: u32 = 14;

/// What is added (host order) to the template's client address and port for the `n`-th packet: a permutation with a fixed
/// stride, so that neither caches nor prefetchers see a pattern.
#[inline(always)]
#[must_use]
pub const fn rotation(n: u64, flows: u32) -> (u32, u16) {
    let index = if flows == 0 { n as u32 } else { (n as u32).wrapping_mul(0x9e37_79b1) & (flows - 1) };
    (index >> PORT_BITS, (index & ((1 << PORT_BITS) - 1)) as u16)
}
