//! Opens a file below a root without ever leaving it, whatever links and renames there are.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use lb_model::http::Coding;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use crate::send::{PIECE, read};

/// A regular file, open, and what is known of it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) length: u64,
    pub(crate) modified: SystemTime,
    inode: u64,
    /// An encoded sibling was opened.
    pub(crate) coding: Option<Coding>,
    /// There is one, or this is one.
    pub(crate) has_variants: bool,
    /// All of it, if it is small: read in the same trip off the worker's thread.
    pub(crate) whole: Option<Bytes>,
}

#[derive(Debug)]
pub(crate) enum Found {
    File(Opened),
    Folder,
    Nothing,
}

impl Opened {
    fn read_small(mut self) -> io::Result<Self> {
        if self.length <= PIECE {
            self.whole = Some(read(&self.file, 0..self.length)?);
        }
        Ok(self)
    }

    /// Strong, unless the file may have changed within the resolution of its date (RFC 9110 §8.8.1).
    pub(crate) fn tag(&self, now: SystemTime) -> String {
        let since = self.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let settled = now.duration_since(self.modified).is_ok_and(|age| age >= Duration::from_secs(1));
        let weak = if settled { "" } else { "W/" };
        let coding = self.coding.map_or("", Coding::as_str);
        format!("{weak}\"{:x}-{:x}-{:x}{coding}\"", since.as_nanos(), self.length, self.inode)
    }
}

/// Looks for `name` and its encoded siblings; the first of `codings` that is there is opened.
///
/// # Errors
/// Of the system, other than that nothing is there or may be read.
pub(crate) fn open(root: &Path, name: &str, codings: &[Coding]) -> io::Result<Found> {
    let root: File = openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?.into();
    let plain = match beneath(&root, name)? {
        Some(file) => file,
        None => return Ok(Found::Nothing),
    };
    let seen = plain.metadata()?;
    if seen.is_dir() {
        return Ok(Found::Folder);
    }
    let Some(mut plain) = opened(plain, None)? else { return Ok(Found::Nothing) };
    let sibling = |coding: Coding| -> io::Result<Option<Opened>> {
        beneath(&root, &format!("{name}{}", suffix(coding)))?.map_or(Ok(None), |file| opened(file, Some(coding)))
    };
    for coding in codings {
        // One that is older than what it encodes is a leftover.
        if let Some(mut encoded) = sibling(*coding)?.filter(|e| e.modified >= plain.modified) {
            encoded.has_variants = true;
            return encoded.read_small().map(Found::File);
        }
    }
    for coding in Coding::ALL.into_iter().filter(|c| !codings.contains(c)) {
        plain.has_variants |= sibling(coding)?.is_some_and(|e| e.modified >= plain.modified);
    }
    plain.read_small().map(Found::File)
}

const fn suffix(coding: Coding) -> &'static str {
    match coding {
        Coding::Zstd => ".zst",
        Coding::Brotli => ".br",
        Coding::Gzip => ".gz",
    }
}

/// `None`: not a regular file.
fn opened(file: File, coding: Option<Coding>) -> io::Result<Option<Opened>> {
    let seen = file.metadata()?;
    if !seen.is_file() {
        return Ok(None);
    }
    let (length, modified, inode) = (seen.len(), seen.modified()?, seen.ino());
    Ok(Some(Opened { file, length, modified, inode, coding, has_variants: false, whole: None }))
}

/// NONBLOCK: opening a FIFO would wait for a writer.
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

fn beneath(root: &File, name: &str) -> io::Result<Option<File>> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let result = match openat2(root, name, FLAGS, Mode::empty(), resolve) {
        // Before Linux 5.6, or where a sandbox hides it.
        Err(Errno::NOSYS | Errno::PERM) => step_by_step(root, name),
        other => other.map(File::from),
    };
    match result {
        Ok(file) => Ok(Some(file)),
        // EXDEV: it leads out of the root. EAGAIN: something was renamed meanwhile, and nobody can tell.
        Err(
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::XDEV
            | Errno::LOOP
            | Errno::ACCESS
            | Errno::NAMETOOLONG
            | Errno::AGAIN
            | Errno::NXIO
            | Errno::INVAL
            | Errno::ILSEQ
            | Errno::PERM,
        ) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Without openat2(2): folder by folder, following no link at all.
fn step_by_step(root: &File, name: &str) -> Result<File, Errno> {
    let mut at = root.try_clone().map_err(|_| Errno::MFILE)?;
    let mut segments = name.split('/').peekable();
    while let Some(segment) = segments.next() {
        let flags = if segments.peek().is_some() { OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC } else { FLAGS };
        at = openat(&at, segment, flags | OFlags::NOFOLLOW, Mode::empty())?.into();
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_within_are_followed_links_out_are_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("sub")).expect("folders");
        std::fs::write(dir.path().join("secret"), "s").expect("a file");
        std::fs::write(root.join("plain"), "p").expect("a file");
        symlink("../plain", root.join("sub/in")).expect("a link");
        symlink("../secret", root.join("out")).expect("a link");
        symlink(dir.path().join("secret"), root.join("absolute")).expect("a link");
        symlink("loop", root.join("loop")).expect("a link");
        let file = |name| matches!(open(&root, name, &[]).expect("no error"), Found::File(_));
        assert!(file("plain") && file("sub/in"));
        for name in ["out", "absolute", "loop", "../secret", "none", "plain/x"] {
            assert!(!file(name), "{name}");
        }
        assert!(matches!(open(&root, "sub", &[]), Ok(Found::Folder)));
        let root = File::open(&root).expect("the root");
        assert!(step_by_step(&root, "plain").is_ok());
        for name in ["out", "absolute", "sub/in", "none"] {
            assert!(step_by_step(&root, name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_no_regular_file_is_nothing_and_does_not_block() {
        let dir = tempfile::tempdir().expect("a directory");
        rustix::fs::mknodat(CWD, dir.path().join("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).expect("a FIFO");
        assert!(matches!(open(dir.path(), "fifo", &[]), Ok(Found::Nothing)));
    }
}
