//! The kernel's half of `lb`: XDP programs. [`lb_xdp`] balances; [`lb_pass`] passes everything, for the far ends of veth
//! pairs, which only take packets sent by XDP while a program is attached to them.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![expect(internal_features, reason = "atomic addition; see `atomic`")]

mod atomic;
mod clock;
mod count;
mod emit;
mod flow;
mod forward;
mod guard;
mod maps;
mod packet;
mod path;
mod select;
mod service;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

#[xdp]
pub fn lb_xdp(ctx: XdpContext) -> u32 {
    emit::exit(&ctx, path::run(&ctx))
}

#[xdp]
pub fn lb_pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
