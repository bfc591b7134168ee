//! The key that sticky cookies are signed with: made once, kept in the state directory.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

const FILE: &str = "sticky.key";

/// Reads the key, or makes one. Without a state directory it lives as long as the process.
///
/// # Errors
/// A file that is there and cannot be used, in words.
pub(crate) fn sticky(state_dir: &Path) -> Result<[u8; 32], String> {
    let new: [u8; 32] = rand::random();
    if state_dir.as_os_str().is_empty() {
        return Ok(new);
    }
    let path = state_dir.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => bytes.try_into().map_err(|_| format!("{} is not a key of 32 bytes; remove it", path.display())),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let written = fs::create_dir_all(state_dir).and_then(|()| {
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
                file.write_all(&new)?;
                file.sync_all()
            });
            if let Err(e) = written {
                tracing::warn!("{}: {e}; sticky cookies will not outlive this process", path.display());
            }
            Ok(new)
        }
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once() {
        let folder = std::env::temp_dir().join(format!("lb-sticky-{}", std::process::id()));
        let first = sticky(&folder).expect("a key");
        assert_eq!(sticky(&folder), Ok(first));
        fs::write(folder.join(FILE), b"short").expect("written");
        assert!(sticky(&folder).is_err());
        fs::remove_dir_all(&folder).expect("removed");
    }
}
