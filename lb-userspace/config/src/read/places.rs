//! Paths that the file names: relative to its directory, and noted where what they name must be there.

use std::path::{Path, PathBuf};

use crate::source::Span;
use crate::table::Table;

/// A file or folder that must be readable once the configuration is put in force.
#[derive(Debug)]
pub(crate) struct NamedFile {
    pub(crate) span: Span,
    pub(crate) path: PathBuf,
    pub(crate) folder: bool,
}

#[derive(Debug)]
pub(crate) struct Places {
    directory: PathBuf,
    pub(crate) named: Vec<NamedFile>,
}

impl Places {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), named: Vec::new() }
    }

    /// A path that need not be there yet.
    pub(crate) fn path(&self, table: &Table, key: &str) -> Option<PathBuf> {
        table.get::<PathBuf>(key).map(|p| self.directory.join(p))
    }

    pub(crate) fn file(&mut self, table: &Table, key: &str) -> Option<PathBuf> {
        let path = table.get(key)?;
        Some(self.note(table.place(key), path, false))
    }

    pub(crate) fn folder(&mut self, table: &Table, key: &str) -> Option<PathBuf> {
        let path = table.get(key)?;
        Some(self.note(table.place(key), path, true))
    }

    pub(crate) fn note(&mut self, span: Span, path: PathBuf, folder: bool) -> PathBuf {
        let path = self.directory.join(path);
        self.named.push(NamedFile { span, path: path.clone(), folder });
        path
    }
}
