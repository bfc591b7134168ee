//! The four flow tables, by family and by whether the flow is established.

use aya_ebpf::bindings::BPF_NOEXIST;
use lb_common::flow::{Flow, FlowKey4, FlowKey6};

use crate::maps::{FLOWS4, FLOWS6, FRESH4, FRESH6};

#[inline(always)]
fn narrow(t: &FlowKey6) -> FlowKey4 {
    FlowKey4 {
        src: t.src.as_v4(),
        dst: t.dst.as_v4(),
        src_port: t.src_port,
        dst_port: t.dst_port,
        protocol: t.protocol,
    }
}

#[inline(always)]
pub fn established(t: &FlowKey6, v4: bool) -> Option<*mut Flow> {
    if v4 { FLOWS4.get_ptr_mut(narrow(t)) } else { FLOWS6.get_ptr_mut(t) }
}

#[inline(always)]
pub fn fresh(t: &FlowKey6, v4: bool) -> Option<*mut Flow> {
    if v4 { FRESH4.get_ptr_mut(narrow(t)) } else { FRESH6.get_ptr_mut(t) }
}

/// Enters or replaces a fresh flow. The table evicts its oldest entry when full.
#[inline(always)]
pub fn put_fresh(t: &FlowKey6, v4: bool, flow: &Flow) -> Result<(), i32> {
    if v4 { FRESH4.insert(narrow(t), flow, 0) } else { FRESH6.insert(t, flow, 0) }
}

/// Enters a fresh flow unless the key is taken: how a source port is claimed.
#[inline(always)]
pub fn claim_fresh(t: &FlowKey6, v4: bool, flow: &Flow) -> Result<(), i32> {
    let flags = u64::from(BPF_NOEXIST);
    if v4 { FRESH4.insert(narrow(t), flow, flags) } else { FRESH6.insert(t, flow, flags) }
}

/// Enters an established flow; fails when the table is full.
#[inline(always)]
pub fn put_established(t: &FlowKey6, v4: bool, flow: &Flow) -> Result<(), i32> {
    if v4 { FLOWS4.insert(narrow(t), flow, 0) } else { FLOWS6.insert(t, flow, 0) }
}

/// Removing what is not there is no error.
#[inline(always)]
pub fn remove_established(t: &FlowKey6, v4: bool) {
    let _absent = if v4 { FLOWS4.remove(narrow(t)) } else { FLOWS6.remove(t) };
}

#[inline(always)]
pub fn remove_fresh(t: &FlowKey6, v4: bool) {
    let _absent = if v4 { FRESH4.remove(narrow(t)) } else { FRESH6.remove(t) };
}
