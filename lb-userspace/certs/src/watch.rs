//! Has a file changed? By what stat(2) says, and by content where that says "perhaps".

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::pem;

/// A file changed so recently may change again without its times showing it.
const SETTLED: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
    inode: u64,
    device: u64,
}

/// One file: its content as read last.
pub(crate) struct Watched {
    path: PathBuf,
    stamp: Option<Stamp>,
    settled: bool,
    pub(crate) content: Result<Vec<u8>, String>,
}

/// Contents may be keys: they are not shown.
impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("path", &self.path).field("stamp", &self.stamp).finish_non_exhaustive()
    }
}

impl Watched {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), stamp: None, settled: false, content: Err(String::new()) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks; `true` if the content is another one now.
    pub(crate) fn look(&mut self, now: SystemTime) -> bool {
        let metadata = std::fs::metadata(&self.path);
        let stamp = metadata.as_ref().ok().map(|m| Stamp {
            modified: (m.mtime(), m.mtime_nsec()),
            changed: (m.ctime(), m.ctime_nsec()),
            size: m.len(),
            inode: m.ino(),
            device: m.dev(),
        });
        if stamp == self.stamp && (self.settled || stamp.is_none()) && self.content != Err(String::new()) {
            return false;
        }
        self.stamp = stamp;
        self.settled =
            metadata.and_then(|m| m.modified()).is_ok_and(|m| now.duration_since(m).is_ok_and(|age| age > SETTLED));
        let content = pem::read(&self.path);
        let differs = content != self.content;
        self.content = content;
        differs
    }
}
