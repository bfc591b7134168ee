//! Claiming the control socket, so that one daemon answers on it.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Owner and group may speak to the daemon, nobody else.
const MODE: u32 = 0o660;

#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// A daemon lives: the caller must not touch its data plane.
    #[error("another lb holds the control socket {path}{}", holder(*.pid))]
    Held { path: PathBuf, pid: Option<u32> },
    #[error("{path} is there and is no socket; remove it or choose another with --socket")]
    Stranger { path: PathBuf },
    #[error("cannot {what} {path}: {source}")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
}

fn holder(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

/// A socket bound and held. Dropping it removes the socket file, unless it is another's.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    listener: Option<UnixListener>,
    ours: bool,
    /// Locked while the daemon lives. The file stays behind: removing it would let two daemons lock two files of one name.
    lock: File,
}

impl Claim {
    /// Binds `path`, having made its directory and removed what a dead daemon left.
    ///
    /// # Errors
    /// [`ClaimError::Held`] if a daemon answers or holds the lock.
    pub fn take(path: &Path) -> Result<Self, ClaimError> {
        let fail = |what| move |source| ClaimError::Io { what, path: path.to_owned(), source };
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(fail("make the directory of"))?;
        }
        let lock_path = lock_path(path);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(fail("open the lock of"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ClaimError::Held { path: path.to_owned(), pid: recorded_pid(&lock_path) });
            }
            Err(TryLockError::Error(e)) => return Err(fail("lock")(e)),
        }
        record_pid(&lock);
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(fail("bind"))?;
        std::fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(fail("set the mode of"))?;
        listener.set_nonblocking(true).map_err(fail("set up"))?;
        Ok(Self { path: path.to_owned(), listener: Some(listener), ours: true, lock })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Duplicates of the bound socket and of the lock, for a process that takes over. The lock is held as long as either
    /// process lives.
    ///
    /// # Errors
    /// Of dup(2), or if the socket has been given away.
    pub fn duplicates(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        let listener = self.listener.as_ref().ok_or_else(|| io::Error::other("the claim is spent"))?;
        Ok((listener.try_clone()?.into(), self.lock.try_clone()?.into()))
    }

    /// What another process has given of its claim. The socket file stays that process's until [`Claim::own`].
    ///
    /// # Errors
    /// If the socket cannot be set up.
    pub fn inherited(path: &Path, listener: OwnedFd, lock: OwnedFd) -> io::Result<Self> {
        let listener = UnixListener::from(listener);
        listener.set_nonblocking(true)?;
        Ok(Self { path: path.to_owned(), listener: Some(listener), ours: false, lock: lock.into() })
    }

    /// The claim is this process's from now on.
    pub fn own(&mut self) {
        self.ours = true;
        record_pid(&self.lock);
    }

    /// Gives the claim up without removing the socket file: another process answers there.
    pub fn leave(mut self) {
        self.ours = false;
    }

    /// The bound socket, once.
    pub(crate) fn take_listener(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.ours {
            // Nothing to be done if it is gone already.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Who holds the lock is only said in a message, so a failure to write it is no failure.
fn record_pid(mut lock: &File) {
    use std::io::{Seek as _, Write as _};
    // The lock may have come from another process, with its place in the file.
    let at = |n: u64| std::io::SeekFrom::Start(n);
    let _ = lock.set_len(0).and_then(|()| lock.seek(at(0))).and_then(|_| writeln!(lock, "{}", std::process::id()));
}

fn recorded_pid(lock: &Path) -> Option<u32> {
    std::fs::read_to_string(lock).ok()?.trim().parse().ok()
}

/// A socket nobody listens on was left by a daemon that was killed.
fn remove_stale(path: &Path) -> Result<(), ClaimError> {
    let fail = |what| move |source| ClaimError::Io { what, path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(fail("look at")(e)),
        Ok(meta) if !meta.file_type().is_socket() => return Err(ClaimError::Stranger { path: path.to_owned() }),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        // A listener that took no lock is none of ours, and is alive all the same.
        Ok(_) => Err(ClaimError::Held { path: path.to_owned(), pid: None }),
        Err(_) => std::fs::remove_file(path).map_err(fail("remove the stale socket")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_and_a_dead_one_does_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("deep/lb.sock");
        let first = Claim::take(&path).expect("the first claim");
        assert_eq!(std::fs::metadata(&path).expect("a socket").permissions().mode() & 0o777, 0o660);
        match Claim::take(&path) {
            Err(ClaimError::Held { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        // As after SIGKILL: the file stays, the lock does not.
        std::mem::drop(first);
        drop(UnixListener::bind(&path).expect("a socket"));
        assert!(path.exists());
        let again = Claim::take(&path).expect("a claim over the stale socket");
        drop(again);
        assert!(!path.exists());
    }

    #[test]
    fn a_listener_without_lock_and_a_plain_file_are_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lb.sock");
        let stranger = UnixListener::bind(&path).expect("a socket");
        assert!(matches!(Claim::take(&path), Err(ClaimError::Held { pid: None, .. })));
        drop(stranger);
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, "precious").expect("written");
        assert!(matches!(Claim::take(&path), Err(ClaimError::Stranger { .. })));
        assert_eq!(std::fs::read_to_string(&path).expect("still there"), "precious");
    }
}
