//! Atomic addition. The BPF targets have it as an instruction (kernel 5.12 for the form that returns the old value), but
//! `core` offers no safe method for it there, since they lack compare-and-swap loops.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

/// Adds to a counter shared by all CPUs; returns what it was.
///
/// # Safety
/// `counter` is valid, aligned, and only ever changed atomically.
#[inline(always)]
pub unsafe fn add(counter: *mut u64, n: u64) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(counter, n) }
}
