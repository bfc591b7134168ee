//! Bounds-checked access to packet bytes: the one place that makes pointers into a packet.
//!
//! Offsets are masked before use, which costs one instruction and gives the verifier the bound it wants.

use aya_ebpf::programs::XdpContext;

/// Offsets into headers stay below this.
const OFFSET_MASK: usize = 0x3ff;

/// A pointer to `T` at `offset`, if it lies inside the packet whole. Loads of two- and four-byte fields through it may be
/// misaligned, which the BPF targets we support allow.
#[inline(always)]
pub fn at<T>(ctx: &XdpContext, offset: usize) -> Option<*mut T> {
    let start = ctx.data() + opaque(offset & OFFSET_MASK);
    if start + size_of::<T>() > ctx.data_end() { None } else { Some(start as *mut T) }
}

/// Hides from the compiler where a number came from. It would else prove from lengths checked before that the bounds check
/// is not needed, and leave it out; the verifier, which knows no such proof, refuses the program then.
#[inline(always)]
fn opaque(mut n: usize) -> usize {
    // SAFETY: moves a register to itself.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) n, options(nomem, nostack, preserves_flags)) };
    n
}

/// Reads a `T` at `offset`.
#[inline(always)]
pub fn read<T: Copy>(ctx: &XdpContext, offset: usize) -> Option<T> {
    // SAFETY: `at` checked that all bytes are inside the packet; `T` is one of this crate's header types, valid for any bytes.
    at::<T>(ctx, offset).map(|p| unsafe { *p })
}

/// Bytes from the start of the frame to its end.
#[inline(always)]
pub fn length(ctx: &XdpContext) -> usize {
    opaque(ctx.data_end() - ctx.data())
}

#[inline(always)]
pub fn ingress(ctx: &XdpContext) -> u32 {
    // SAFETY: the kernel hands every XDP program a valid context.
    unsafe { (*ctx.ctx).ingress_ifindex }
}

/// A MAC address as three words: copied in three moves, and two-byte aligned as the frame is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Mac(pub [u16; 3]);

impl Mac {
    #[inline(always)]
    pub fn from(b: &[u8; 6]) -> Self {
        Self([u16::from_ne_bytes([b[0], b[1]]), u16::from_ne_bytes([b[2], b[3]]), u16::from_ne_bytes([b[4], b[5]])])
    }
    #[inline(always)]
    pub fn bytes(self) -> [u8; 6] {
        let (a, b, c) = (self.0[0].to_ne_bytes(), self.0[1].to_ne_bytes(), self.0[2].to_ne_bytes());
        [a[0], a[1], b[0], b[1], c[0], c[1]]
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ethernet {
    pub dst: Mac,
    pub src: Mac,
    pub ethertype: u16,
}
const _: () = assert!(size_of::<Ethernet>() == 14);

#[inline(always)]
pub fn ethernet(ctx: &XdpContext) -> Option<*mut Ethernet> {
    at(ctx, 0)
}
