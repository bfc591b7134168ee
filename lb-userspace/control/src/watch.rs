//! Seeing the configuration file change, whichever way an editor or a deployment replaces it.

use std::path::{Path, PathBuf};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// Tells of everything that happens in the file's directory: renames over it and swapped links never touch the file
/// itself. Whether the text is another is for the listener to see.
#[derive(Debug)]
pub(crate) struct FileWatch {
    // Watching ends with it.
    _watcher: RecommendedWatcher,
}

impl FileWatch {
    /// # Errors
    /// As the system says, for example when it has no watches left.
    pub(crate) fn start(path: &Path, stirred: mpsc::Sender<()>) -> Result<Self, String> {
        let directory = directory_of(path);
        let seen = move |event: notify::Result<notify::Event>| {
            let worth = event.is_ok_and(|e| !matches!(e.kind, EventKind::Access(_)));
            if worth {
                // One pending word is enough.
                let _ = stirred.try_send(());
            }
        };
        let mut watcher = notify::recommended_watcher(seen).map_err(|e| e.to_string())?;
        watcher.watch(&directory, RecursiveMode::NonRecursive).map_err(|e| e.to_string())?;
        // A link may lead to a file that is edited where it is.
        let target = path.canonicalize().map(|p| directory_of(&p));
        if let Ok(target) = target
            && directory.canonicalize().is_ok_and(|d| d != target)
        {
            watcher.watch(&target, RecursiveMode::NonRecursive).map_err(|e| e.to_string())?;
        }
        Ok(Self { _watcher: watcher })
    }
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
