//! `cargo xtask tidy`: the rules of the house that a program can check.

mod doors;
mod sources;
mod unsafe_code;
mod words;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::house;

/// One broken rule, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    place: String,
    broken: String,
}

impl Finding {
    fn new(place: impl Into<String>, broken: impl Into<String>) -> Self {
        Self { place: place.into(), broken: broken.into() }
    }
}

/// A file of the project: its path from the root, with `/`, and its text.
#[derive(Debug)]
pub(crate) struct File {
    path: String,
    text: String,
}

pub(crate) fn run() -> Result<ExitCode> {
    let files = files(house::root())?;
    let mut findings = sources::check(&files);
    findings.extend(unsafe_code::check(&files));
    findings.extend(words::check(&files));
    findings.extend(doors::check(&doors::read()?));
    for f in &findings {
        eprintln!("tidy: {}: {}", f.place, f.broken);
    }
    if findings.is_empty() {
        println!("tidy: {} files in order", files.len());
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("tidy: {} findings", findings.len());
    Ok(ExitCode::FAILURE)
}

/// Every text file of the project, sorted by path; what cargo builds and what git keeps is left out.
fn files(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_symlink() || is_left_out(root, &path) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                files.push(File { path: relative(root, &path), text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn is_left_out(root: &Path, path: &Path) -> bool {
    [PathBuf::from("target"), ".git".into(), "Cargo.lock".into()].iter().any(|p| root.join(p) == path)
        || path.file_name().is_some_and(|n| n == "target" || n == "proptest-regressions")
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
fn file(path: &str, text: &str) -> File {
    File { path: path.into(), text: text.into() }
}
