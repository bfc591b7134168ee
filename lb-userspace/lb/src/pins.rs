//! Where pins go when this process has mounts of its own, as `ip netns exec` gives every command: a BPF file system
//! mounted there would end with the process, and with it the data plane that is to outlive it. The one outside does not.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use lb_model::Host;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

/// Where the BPF file system lives by convention.
const BPFFS: &str = "/sys/fs/bpf";
/// A process has fewer forebears than that.
const FOREBEARS: usize = 64;

/// Lets the outer BPF file system be seen at the usual place, where that is below `pin_dir` and nothing is mounted yet.
/// Returns the directory to pin in.
pub(crate) fn lasting(pin_dir: &Path, mount_if_missing: bool) -> PathBuf {
    if is_bpffs(pin_dir) || !pin_dir.starts_with(BPFFS) {
        return own_name(pin_dir);
    }
    let outer = outer().and_then(|pid| File::open(format!("/proc/{pid}/ns/mnt")).ok());
    let Some(outer) = outer else { return pin_dir.to_owned() };
    match borrow(outer, mount_if_missing) {
        Ok(()) => own_name(pin_dir),
        Err(error) => {
            tracing::debug!(%error, "the BPF file system outside this mount namespace is out of reach");
            pin_dir.to_owned()
        }
    }
}

/// Several network namespaces, each with its balancer, meet in the usual place without having asked to. (A service with
/// mounts of its own, but in its host's network, does not.)
fn own_name(pin_dir: &Path) -> PathBuf {
    let Some(net) = inode("/proc/self/ns/net") else { return pin_dir.to_owned() };
    let elsewhere = || outer().and_then(|pid| inode(&format!("/proc/{pid}/ns/net"))).is_some_and(|outer| outer != net);
    if pin_dir == Path::new(Host::DEFAULT_PIN_DIR) && elsewhere() {
        pin_dir.with_file_name(format!("lb-net-{net}"))
    } else {
        pin_dir.to_owned()
    }
}

/// The nearest forebear whose mounts are not ours. `None`: there is none, or it may not be asked.
fn outer() -> Option<u32> {
    let own = inode("/proc/self/ns/mnt")?;
    let mut pid = parent("self")?;
    for _ in 0..FOREBEARS {
        match inode(&format!("/proc/{pid}/ns/mnt")) {
            Some(theirs) if theirs != own => return Some(pid),
            Some(_) => pid = parent(&pid.to_string())?,
            None => return None,
        }
    }
    None
}

fn parent(pid: &str) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let parent = status.lines().find_map(|l| l.strip_prefix("PPid:"))?.trim().parse().ok()?;
    (parent > 0).then_some(parent)
}

/// What identifies a namespace.
fn inode(path: &str) -> Option<u64> {
    fs::metadata(path).ok().map(|m| m.ino())
}

/// Is the nearest existing ancestor on a BPF file system?
fn is_bpffs(dir: &Path) -> bool {
    let existing = dir.ancestors().find(|d| d.exists());
    existing.and_then(|d| statfs(d).ok()).is_some_and(|s| s.filesystem_type() == BPF_FS_MAGIC)
}

/// A thread goes out, takes a copy of the mount, and ends; the copy is put into our own mounts.
fn borrow(outer: File, mount_if_missing: bool) -> io::Result<()> {
    let thread = std::thread::spawn(move || take(outer, mount_if_missing));
    let tree = thread.join().map_err(|_| io::Error::other("the thread that went there panicked"))??;
    Ok(move_mount(&tree, "", CWD, BPFFS, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

fn take(outer: File, mount_if_missing: bool) -> io::Result<OwnedFd> {
    // A thread that shares its working directory with others may not change its mounts.
    unshare(CloneFlags::CLONE_FS)?;
    setns(outer, CloneFlags::CLONE_NEWNS)?;
    if !is_bpffs(Path::new(BPFFS)) {
        if !mount_if_missing {
            return Err(io::Error::other("none is mounted there"));
        }
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("bpf"), BPFFS, Some("bpf"), flags, Some("mode=0700"))?;
        tracing::info!("mounted the BPF file system on {BPFFS}");
    }
    Ok(open_tree(CWD, BPFFS, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nowhere_near_the_usual_place_is_left_alone() {
        assert_eq!(lasting(Path::new("/mnt/bpf/lb"), true), Path::new("/mnt/bpf/lb"));
    }

    #[test]
    fn forebears_are_found() {
        assert_eq!(parent("self"), Some(std::os::unix::process::parent_id()));
        assert_eq!(parent("1"), None);
    }
}
