//! Pins: maps and links that outlive the process, in a directory of a BPF file system.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use aya::maps::{Array, Map, MapData, MapInfo};
use lb_common::layout;
use lb_common::maps::{ALL, Settings};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::load::{chain, sizes, unavailable};
use crate::plane::PlaneError;

/// Where the BPF file system lives by convention.
const BPFFS: &str = "/sys/fs/bpf";
const LINK_PREFIX: &str = "link_";

/// Makes `dir` ready for pins: mounts the BPF file system if it is not mounted, and creates the directory.
///
/// # Errors
/// [`PlaneError::Unavailable`] if `dir` is not on a BPF file system or cannot be made.
pub fn prepare(dir: &Path) -> Result<(), PlaneError> {
    let refuse = |why: String| unavailable(&format!("pin_dir {}", dir.display()), why);
    if dir.components().any(|c| c.as_os_str().to_string_lossy().contains('.')) {
        return Err(refuse("the BPF file system refuses names with dots".into()));
    }
    if !is_bpffs(dir) {
        if !dir.starts_with(BPFFS) {
            return Err(refuse(format!("it is not on a BPF file system; choose one below {BPFFS}")));
        }
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("bpf"), BPFFS, Some("bpf"), flags, Some("mode=0700"))
            .map_err(|e| refuse(format!("mounting the BPF file system on {BPFFS}: {e}")))?;
        tracing::info!("mounted the BPF file system on {BPFFS}");
    }
    std::fs::create_dir_all(dir).map_err(|e| refuse(e.to_string()))
}

/// Is the nearest existing ancestor on a BPF file system?
fn is_bpffs(dir: &Path) -> bool {
    let existing = dir.ancestors().find(|d| d.exists());
    existing.and_then(|d| statfs(d).ok()).is_some_and(|s| s.filesystem_type() == BPF_FS_MAGIC)
}

/// The right to change what is pinned in a directory; one process has it, and it ends with the process.
#[derive(Debug)]
pub struct Claim {
    _lock: Flock<File>,
}

/// Claims `dir`.
///
/// # Errors
/// [`PlaneError::Unavailable`] if another `lb` is at work there.
pub fn claim(dir: &Path) -> Result<Claim, PlaneError> {
    let what = format!("pin_dir {}", dir.display());
    let file = File::open(dir).map_err(|e| unavailable(&what, e.to_string()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Claim { _lock: lock }),
        Err((_, Errno::EWOULDBLOCK)) => {
            Err(unavailable(&what, "another lb is at work there; give this one a pin_dir of its own".into()))
        }
        Err((_, e)) => Err(unavailable(&what, e.to_string())),
    }
}

/// What an earlier `lb` has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    Nothing,
    /// Maps as this `lb` would make them; the number is the kernel's, of `SETTINGS`.
    Same(u32),
    /// Maps that cannot be taken over, and why.
    Different(String),
}

/// Compares the pinned maps with what `object` would make for this `flow_table_size`.
#[must_use]
pub fn inspect(dir: &Path, object: &[u8], flow_table_size: u32) -> Left {
    let found = ALL.iter().filter(|n| dir.join(n).exists()).count();
    if found == 0 {
        return Left::Nothing;
    }
    if found < ALL.len() {
        return Left::Different(format!("{found} of {} maps are pinned", ALL.len()));
    }
    compare(dir, object, flow_table_size).map_or_else(Left::Different, Left::Same)
}

fn compare(dir: &Path, object: &[u8], flow_table_size: u32) -> Result<u32, String> {
    let pinned = MapData::from_pin(dir.join("SETTINGS")).map_err(|e| chain(&e))?;
    let id = pinned.info().map_err(|e| chain(&e))?.id();
    let settings: Array<_, Settings> =
        Map::from_map_data(pinned).and_then(Array::try_from).map_err(|e| format!("SETTINGS: {}", chain(&e)))?;
    let theirs = settings.get(&0, 0).map_err(|e| chain(&e))?.layout;
    if theirs != layout::VERSION {
        return Err(format!("the pinned maps have layout {theirs}, this lb has {}", layout::VERSION));
    }
    let object = aya_obj::Object::parse(object).map_err(|e| chain(&e))?;
    let sizes: HashMap<&str, u32> = sizes(flow_table_size).into_iter().collect();
    for name in ALL {
        let info = MapInfo::from_pin(dir.join(name)).map_err(|e| format!("{name}: {}", chain(&e)))?;
        let wanted = object.maps.get(name).ok_or_else(|| format!("{name}: not in this lb"))?;
        let entries = sizes.get(name).copied().unwrap_or(wanted.max_entries());
        let (is, ours) = (
            (info.map_type().map_or(u32::MAX, |t| t as u32), info.key_size(), info.value_size(), info.map_flags()),
            (wanted.map_type(), wanted.key_size(), wanted.value_size(), wanted.map_flags()),
        );
        if is != ours {
            return Err(format!("map {name} is defined otherwise"));
        }
        if info.max_entries() != entries {
            return Err(format!("map {name} has room for {}, this lb wants {entries}", info.max_entries()));
        }
    }
    Ok(id)
}

/// Where an interface's link is pinned. By number: names may have dots.
#[must_use]
pub fn link_path(dir: &Path, ifindex: u32) -> PathBuf {
    dir.join(format!("{LINK_PREFIX}{ifindex}"))
}

/// The pinned links: interface numbers and paths.
#[must_use]
pub fn links(dir: &Path) -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut out: Vec<(u32, PathBuf)> = entries
        .filter_map(|e| {
            let index = e.file_name().to_string_lossy().strip_prefix(LINK_PREFIX)?.parse().ok()?;
            Some((index, e.path()))
        })
        .collect();
    out.sort();
    out
}

fn unpin(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Lets go of the pinned maps; those in use by a program live on until it goes.
///
/// # Errors
/// If a pin cannot be removed.
pub fn forget_maps(dir: &Path) -> Result<usize, PlaneError> {
    let mut n = 0;
    for name in ALL {
        let path = dir.join(name);
        let gone = unpin(&path);
        n += usize::from(
            gone.map_err(|source| PlaneError::Kernel { call: format!("unpinning {}", path.display()), source })?,
        );
    }
    Ok(n)
}

/// Takes everything off that an `lb` which runs no more has pinned in `dir`. Says how many interfaces were freed; `None`:
/// there was nothing.
///
/// # Errors
/// If another `lb` is at work there, or a pin cannot be removed.
pub fn detach(dir: &Path) -> Result<Option<usize>, PlaneError> {
    if !dir.exists() {
        return Ok(None);
    }
    let claim = claim(dir)?;
    remove(dir, &claim)
}

/// Links first, which detaches the programs, then the maps, then the directory.
///
/// # Errors
/// If a pin cannot be removed.
pub fn remove(dir: &Path, _claim: &Claim) -> Result<Option<usize>, PlaneError> {
    let links = links(dir);
    for (_, path) in &links {
        unpin(path).map_err(|source| PlaneError::Kernel { call: format!("detaching {}", path.display()), source })?;
    }
    let maps = forget_maps(dir)?;
    match std::fs::remove_dir(dir) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => tracing::debug!(error = %e, "the pin directory stays"),
    }
    Ok((!links.is_empty() || maps > 0).then_some(links.len()))
}
