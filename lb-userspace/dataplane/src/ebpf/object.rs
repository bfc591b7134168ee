//! The kernel's half as built by `build.rs`: object files inside the binary, aligned as the ELF reader wants them.

/// The balancer's programs `lb_xdp` and `lb_pass`. Empty in a build without the eBPF toolchain.
#[cfg(not(lb_no_ebpf))]
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lb-ebpf"));
#[cfg(lb_no_ebpf)]
pub static OBJECT: &[u8] = &[];

/// The programs that `cargo xtask bench packet` measures against. Empty in a build without them.
#[cfg(not(lb_no_bench))]
pub static BENCH_OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench"));
#[cfg(lb_no_bench)]
pub static BENCH_OBJECT: &[u8] = &[];

/// Was this binary built with the kernel's half?
#[must_use]
pub fn is_present() -> bool {
    !OBJECT.is_empty()
}
