//! The `bpf(2)` commands that move many entries at once, which aya has no wrapper for.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use aya::Pod;
use aya_obj::generated::{bpf_attr, bpf_cmd};

/// Where a walk through a map stands; opaque, the kernel's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(Option<[u64; 8]>);

/// `bpf(cmd, attr)` with the `batch` member filled in; gives back how many entries were done, with the error if any.
fn call(cmd: bpf_cmd, attr: &mut bpf_attr) -> (u32, io::Result<()>) {
    // SAFETY: `attr` is a whole, initialised `bpf_attr`; the callers' buffers are as long as `count` says.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, cmd as libc::c_int, &raw mut *attr, size_of::<bpf_attr>()) };
    let result = if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: the kernel leaves `batch` a plain struct of integers.
    (unsafe { attr.batch.count }, result)
}

fn attr(map: BorrowedFd<'_>, count: usize) -> bpf_attr {
    // SAFETY: all members of the union are plain integers, for which zero is valid.
    let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
    attr.batch.map_fd = map.as_raw_fd() as u32;
    attr.batch.count = count as u32;
    attr
}

/// Reads up to `room` entries from where `cursor` stands, moves it on, and says whether there may be more. A map that
/// changes meanwhile may show an entry twice or (if it is new) not at all.
///
/// # Errors
/// `ENOSPC` if one hash bucket holds more than `room`; others as bpf(2).
pub fn read<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    cursor: &mut Cursor,
    room: usize,
    keys: &mut Vec<K>,
    values: &mut Vec<V>,
) -> io::Result<bool> {
    keys.clear();
    values.clear();
    keys.reserve(room);
    values.reserve(room);
    let mut next = MaybeUninit::<[u64; 8]>::zeroed();
    let mut attr = attr(map, room);
    attr.batch.in_batch = cursor.0.as_ref().map_or(0, |c| c.as_ptr() as u64);
    attr.batch.out_batch = next.as_mut_ptr() as u64;
    attr.batch.keys = keys.as_mut_ptr() as u64;
    attr.batch.values = values.as_mut_ptr() as u64;
    let (done, result) = call(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr);
    let more = match result {
        Ok(()) => true,
        // The end, with the last entries.
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => false,
        Err(e) => return Err(e),
    };
    let done = (done as usize).min(room);
    // SAFETY: room for `room` of each was reserved, the kernel has written `done` of them, and they are `Pod`.
    unsafe {
        keys.set_len(done);
        values.set_len(done);
    }
    // SAFETY: zeroed above; any bit pattern is valid.
    *cursor = if more { Cursor(Some(unsafe { next.assume_init() })) } else { Cursor::default() };
    Ok(more)
}

/// Writes `values` under `keys`.
///
/// # Errors
/// As bpf(2); entries before the failing one are written.
pub fn write<K: Pod, V: Pod>(map: BorrowedFd<'_>, keys: &[K], values: &[V]) -> io::Result<()> {
    let count = keys.len().min(values.len());
    let mut at = 0;
    while at < count {
        let mut attr = attr(map, count - at);
        attr.batch.keys = keys[at..].as_ptr() as u64;
        attr.batch.values = values[at..].as_ptr() as u64;
        let (done, result) = call(bpf_cmd::BPF_MAP_UPDATE_BATCH, &mut attr);
        match result {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted || e.raw_os_error() == Some(libc::EAGAIN) => {
                at += done as usize;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
