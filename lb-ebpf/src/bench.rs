//! The measuring half: a wrapper that gives every run a fresh packet, and floors to measure against.
//!
//! A plain repeated test run shows a program its own output from the second round on. [`bench_wrap`] restores the
//! template's length and bytes, rotates the client's address and port (checksums kept valid) and tail-calls what is under
//! test, so every target pays the same for it.
//!
//! | map | kind | key | value | written by |
//! |---|---|---|---|---|
//! | `TEMPLATE` | array, 1 | – | `lb_common::bench::Template` | user |
//! | `COUNTER` | array, 1 | – | packets so far `u64`; where the rotation stands | kernel; user sets it back |
//! | `TARGETS` | program array, 1 | 0 | the program under test: `lb_xdp` or a floor | user |
//!
//! Programs: `bench_wrap`, `bench_reflect` (the far end of a closed loop over real interfaces: a UDP packet over IPv4 is replaced
//! by the next one of the template and sent back, all else passes), `bench_pass`, `floor_tx` (returns `XDP_TX`), `floor_parse` (parses, then the same), `floor_nat` (parses and
//! rewrites both ends to constants, checksums included).
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

#[path = "forward/nat.rs"]
mod nat;
#[allow(dead_code, clippy::allow_attributes_without_reason)]
mod packet;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_xdp_adjust_head;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, PerCpuArray, ProgramArray};
use aya_ebpf::programs::XdpContext;
use lb_common::bench::{Template, rotation};
use lb_common::checksum::{replace16, replace32, update};
use lb_common::net::{Addr, Be16, Be32};
use packet::{Packet, Parsed, access};

#[map]
static TEMPLATE: Array<Template> = Array::with_max_entries(1, 0);
#[map]
static COUNTER: Array<u64> = Array::with_max_entries(1, 0);
#[map]
static TARGETS: ProgramArray = ProgramArray::with_max_entries(1, 0);
#[map]
static VIEW: PerCpuArray<Packet> = PerCpuArray::with_max_entries(1, 0);

#[xdp]
pub fn bench_wrap(ctx: XdpContext) -> u32 {
    if wrap(&ctx).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: a program array of this object; the call does not return if it succeeds.
    let _no_target = unsafe { TARGETS.tail_call(&ctx, 0) };
    xdp_action::XDP_ABORTED
}

#[xdp]
pub fn bench_reflect(ctx: XdpContext) -> u32 {
    // Ethertype, and IPv4's protocol.
    let traffic = access::read::<[u8; 2]>(&ctx, 12) == Some([0x08, 0]) && access::read::<u8>(&ctx, 23) == Some(17);
    if !traffic {
        return xdp_action::XDP_PASS;
    }
    if wrap(&ctx).is_some() { xdp_action::XDP_TX } else { xdp_action::XDP_ABORTED }
}

#[inline(always)]
fn wrap(ctx: &XdpContext) -> Option<()> {
    let template = TEMPLATE.get(0)?;
    let surplus = access::length(ctx) as i32 - template.length as i32;
    if surplus != 0 {
        // SAFETY: pointers into the packet are made afresh below.
        unsafe { bpf_xdp_adjust_head(ctx.ctx, surplus) };
    }
    copy(ctx, template)?;
    let counter = COUNTER.get_ptr_mut(0)?;
    // SAFETY: a valid pointer; measurements run on one CPU.
    let n = unsafe {
        *counter += 1;
        *counter
    };
    rotate(ctx, template, n)
}

#[inline(always)]
fn copy(ctx: &XdpContext, template: &Template) -> Option<()> {
    if template.length == 64 { copy_words::<8>(ctx, template) } else { copy_words::<10>(ctx, template) }
}

#[inline(always)]
fn copy_words<const N: usize>(ctx: &XdpContext, template: &Template) -> Option<()> {
    let to = access::at::<[u64; N]>(ctx, 0)?;
    let from = template.bytes.as_ptr().cast::<u64>();
    for i in 0..N {
        // SAFETY: `at` checked `N` words of the packet; the template has twelve.
        unsafe { to.cast::<u64>().add(i).write_volatile(from.add(i).read_volatile()) };
    }
    Some(())
}

#[inline(always)]
fn rotate(ctx: &XdpContext, template: &Template, n: u64) -> Option<()> {
    let (address, port) = rotation(n, template.flows);
    let at = access::at::<u32>(ctx, template.address_at as usize)?;
    // SAFETY: `at` checked the bounds, here and below.
    let mut diff = unsafe { step32(at, address) };
    if template.ip_check_at != 0 {
        let check = access::at::<u16>(ctx, template.ip_check_at as usize)?;
        // SAFETY: see above.
        unsafe { *check = update(*check, diff) };
    }
    let at = access::at::<u16>(ctx, template.port_at as usize)?;
    // SAFETY: see above.
    unsafe {
        let new = u16::from_be(*at).wrapping_add(port).to_be();
        diff += replace16(*at, new);
        *at = new;
    }
    let check = access::at::<u16>(ctx, template.check_at as usize)?;
    // SAFETY: see above.
    unsafe {
        let new = update(*check, diff);
        // UDP writes a sum of zero as its other name (RFC 768); TCP takes either.
        *check = if new == 0 { 0xffff } else { new };
    }
    Some(())
}

/// # Safety
/// `at` is valid.
#[inline(always)]
unsafe fn step32(at: *mut u32, by: u32) -> u64 {
    // SAFETY: the caller's promise.
    unsafe {
        let new = u32::from_be(*at).wrapping_add(by).to_be();
        let diff = replace32(*at, new);
        *at = new;
        diff
    }
}

#[xdp]
pub fn bench_pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

#[xdp]
pub fn floor_tx(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

#[xdp]
pub fn floor_parse(ctx: XdpContext) -> u32 {
    match parsed(&ctx) {
        Some(_) => xdp_action::XDP_TX,
        None => xdp_action::XDP_DROP,
    }
}

#[xdp]
pub fn floor_nat(ctx: XdpContext) -> u32 {
    let done = parsed(&ctx).and_then(|packet| {
        let address = |n: u32| {
            if packet.v4 { Addr::v4(Be32::from_host(0x0a00_0000 | n)) } else { Addr([0x20, 0, 0, n.to_be()]) }
        };
        let ends = nat::Ends {
            src: address(1),
            dst: address(2),
            src_port: Be16::from_host(10_001),
            dst_port: Be16::from_host(8080),
        };
        nat::rewrite(&ctx, packet, &ends)
    });
    if done.is_some() { xdp_action::XDP_TX } else { xdp_action::XDP_DROP }
}

#[inline(always)]
fn parsed(ctx: &XdpContext) -> Option<&Packet> {
    let view = VIEW.get_ptr_mut(0)?;
    // SAFETY: this CPU's own view.
    let view = unsafe { &mut *view };
    match packet::parse(ctx, view) {
        Parsed::Packet => Some(packet::settled(view)),
        _ => None,
    }
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
