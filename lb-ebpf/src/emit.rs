//! The last stage: the one place where a verdict becomes an XDP action and a count.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::programs::XdpContext;
use lb_common::backend::Backend;
use lb_common::reason::{Reason, Verdict};

use crate::count;
use crate::maps::LINKS;
use crate::packet::access;

/// What the path decided: reason, service and, of a packet that goes out, its interface (0: where it came in). One word,
/// so that it is handed on in a register. Nothing but [`exit`] turns it into an action.
#[must_use]
pub struct Outcome(u64);

const SERVICE_SHIFT: u32 = 8;
const IFINDEX_SHIFT: u32 = 32;

impl Outcome {
    #[inline(always)]
    pub const fn stop(service: u32, reason: Reason) -> Self {
        Self::send(service, reason, 0)
    }
    #[inline(always)]
    pub const fn send(service: u32, reason: Reason, ifindex: u32) -> Self {
        Self(reason as u64 | (service as u64) << SERVICE_SHIFT | (ifindex as u64) << IFINDEX_SHIFT)
    }
}

#[inline(always)]
pub fn exit(ctx: &XdpContext, outcome: Outcome) -> u32 {
    let reason = (outcome.0 & 0xff) as u32;
    let service = (outcome.0 >> SERVICE_SHIFT) as u32 & 0xffff;
    let ifindex = (outcome.0 >> IFINDEX_SHIFT) as u32;
    let count = count::verdict(service, reason);
    if PASSES & (1 << reason) != 0 {
        xdp_action::XDP_PASS
    } else if DROPS & (1 << reason) != 0 {
        count::sample(ctx, service, reason, count);
        xdp_action::XDP_DROP
    } else if ifindex == 0 {
        xdp_action::XDP_TX
    } else {
        // SAFETY: takes two numbers; an interface that is gone drops the packet in the kernel.
        unsafe { bpf_redirect(ifindex, 0) as u32 }
    }
}

/// Reasons by verdict, as bits: a table that needs no branch per reason.
const PASSES: u32 = reasons(Verdict::Pass);
const DROPS: u32 = reasons(Verdict::Drop);

const fn reasons(verdict: Verdict) -> u32 {
    let mut bits = 0;
    let mut i = 0;
    while i < Reason::ALL.len() {
        if Reason::ALL[i].verdict() as u8 == verdict as u8 {
            bits |= 1 << Reason::ALL[i] as u32;
        }
        i += 1;
    }
    bits
}

/// Addresses the frame to a backend's next hop; returns the interface to send on (0: the one it came in on).
#[inline(always)]
pub fn to_next_hop(ctx: &XdpContext, backend: &Backend) -> Option<u32> {
    let eth = access::ethernet(ctx)?;
    // SAFETY: `ethernet` checked the bounds of the header.
    unsafe {
        (*eth).dst = access::Mac::from(&backend.dst_mac);
        (*eth).src = access::Mac::from(&backend.src_mac);
    }
    let ingress = access::ingress(ctx);
    Some(if backend.ifindex == ingress { 0 } else { backend.ifindex })
}

/// Addresses the frame to the neighbour a client's packets came from.
#[inline(always)]
pub fn to_client(ctx: &XdpContext, mac: &[u8; 6], ifindex: u32) -> Option<u32> {
    let eth = access::ethernet(ctx)?;
    if ifindex == access::ingress(ctx) {
        // SAFETY: `ethernet` checked the bounds of the header.
        unsafe {
            (*eth).src = (*eth).dst;
            (*eth).dst = access::Mac::from(mac);
        }
        return Some(0);
    }
    // SAFETY: the entry is written whole by user space and read at once.
    let link = unsafe { LINKS.get(ifindex) }?;
    // SAFETY: `ethernet` checked the bounds of the header.
    unsafe {
        (*eth).src = access::Mac::from(&link.mac);
        (*eth).dst = access::Mac::from(mac);
    }
    Some(ifindex)
}

/// Sends the frame back to where it came from.
#[inline(always)]
pub fn back(ctx: &XdpContext) -> Option<()> {
    let eth = access::ethernet(ctx)?;
    // SAFETY: `ethernet` checked the bounds of the header.
    unsafe {
        let dst = (*eth).dst;
        (*eth).dst = (*eth).src;
        (*eth).src = dst;
    }
    Some(())
}
