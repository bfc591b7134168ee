//! Where the daemon and the command line meet when nobody says where.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use lb_config::Environment;
use lb_model::Host;

/// Where a client looks, in this order.
pub(crate) fn candidates(given: Option<&Path>) -> Vec<PathBuf> {
    if let Some(given) = given {
        return vec![given.to_owned()];
    }
    let environment = Environment::of_process();
    let mut places = vec![environment.socket()];
    if environment.ordinary_user {
        places.extend(private_dir().ok().map(|d| d.join("lb.sock")));
        // Root's daemon lets its group in.
        places.push(Host::DEFAULT_SOCKET.into());
    }
    places
}

/// A directory of this user's alone that is always to be had: for an ordinary user without a writable home.
pub(crate) fn private_dir() -> io::Result<PathBuf> {
    let uid = nix::unistd::geteuid();
    let path = std::env::temp_dir().join(format!("lb-{uid}"));
    match std::fs::DirBuilder::new().mode(0o700).create(&path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    // Anybody may have made the name in a directory that all may write to.
    let meta = std::fs::symlink_metadata(&path)?;
    if meta.is_dir() && meta.uid() == uid.as_raw() && meta.mode() & 0o077 == 0 {
        Ok(path)
    } else {
        Err(io::Error::other(format!("{} is not this user's alone", path.display())))
    }
}

/// Can files be made in this directory (or it itself be made)?
pub(crate) fn is_usable(dir: &Path) -> bool {
    std::fs::create_dir_all(dir).is_ok() && nix::unistd::access(dir, nix::unistd::AccessFlags::W_OK).is_ok()
}
