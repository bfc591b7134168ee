//! Each source file says its one reason first, is short enough to be read, and has a name that says something.

use super::{File, Finding};

const MOST_LINES: usize = 400;

/// Files that are longer, with the length they must not exceed. The list may only get shorter, and its numbers smaller:
/// a file that shrinks takes its number along.
const LONGER: [(&str, usize); 0] = [];

/// Names that say nothing about what is inside.
const BANNED: [&str; 7] = ["utils", "util", "helpers", "helper", "common", "manager", "misc"];

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    check_with(files, &LONGER)
}

fn check_with(files: &[File], longer: &[(&str, usize)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for f in files.iter().filter(|f| f.path.ends_with(".rs")) {
        if !f.text.lines().next().is_some_and(|l| l.starts_with("//!") && l.len() >= 10) {
            findings.push(Finding::new(&f.path, "the first line must say, after //!, the one reason the file exists"));
        }
        if let Some(name) = f.path.split('/').map(|p| p.trim_end_matches(".rs")).find(|p| BANNED.contains(p)) {
            findings.push(Finding::new(&f.path, format!("'{name}' says nothing; name it for what it does")));
        }
        findings.extend(length(f, longer));
    }
    for (path, _) in longer {
        if !files.iter().any(|f| f.path == *path) {
            findings.push(Finding::new(*path, "is gone; take it off the list of long files"));
        }
    }
    findings
}

fn length(f: &File, longer: &[(&str, usize)]) -> Option<Finding> {
    let lines = f.text.lines().count();
    let allowed = longer.iter().find(|(path, _)| *path == f.path).map(|(_, n)| *n);
    let broken = match allowed {
        None if lines > MOST_LINES => format!("{lines} lines; {MOST_LINES} at most: split it by reason"),
        Some(n) if lines > n => format!("{lines} lines; it may only shrink from {n}"),
        Some(_) if lines <= MOST_LINES => "is short enough now; take it off the list of long files".into(),
        Some(n) if lines < n => format!("has shrunk; lower its number from {n} to {lines}"),
        _ => return None,
    };
    Some(Finding::new(&f.path, broken))
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn broken(files: &[File], longer: &[(&str, usize)]) -> Vec<String> {
        check_with(files, longer).into_iter().map(|f| format!("{}: {}", f.place, f.broken)).collect()
    }

    fn lines(n: usize) -> String {
        format!("//! A reason to exist.\n{}", "\n".repeat(n - 1))
    }

    #[test]
    fn a_file_in_order_passes() {
        assert!(broken(&[file("lb/src/a.rs", &lines(MOST_LINES)), file("x.toml", "a = 1")], &[]).is_empty());
    }

    #[test]
    fn a_missing_reason_is_found() {
        for text in ["use std::fs;\n", "", "// A comment.\n", "//!\nfn a() {}\n"] {
            assert_eq!(broken(&[file("a.rs", text)], &[]).len(), 1, "{text:?}");
        }
    }

    #[test]
    fn empty_names_are_found_in_files_and_folders() {
        for path in ["lb/src/utils.rs", "lb/src/helpers/a.rs", "a/common.rs", "manager/mod.rs"] {
            assert_eq!(broken(&[file(path, &lines(2))], &[]).len(), 1, "{path}");
        }
        assert!(broken(&[file("lb-common/src/a.rs", &lines(2))], &[]).is_empty(), "a package may be called lb-common");
    }

    #[test]
    fn long_files_are_found_and_the_list_only_shrinks() {
        let long = [file("a.rs", &lines(500))];
        assert_eq!(broken(&long, &[]).len(), 1);
        assert!(broken(&long, &[("a.rs", 500)]).is_empty());
        for (n, says) in [(499, "may only shrink"), (501, "lower its number")] {
            let found = broken(&long, &[("a.rs", n)]);
            assert!(found.len() == 1 && found[0].contains(says), "{found:?}");
        }
        let found = broken(&[file("a.rs", &lines(100))], &[("a.rs", 500), ("gone.rs", 500)]);
        assert!(found.len() == 2 && found.iter().all(|f| f.contains("take it off")), "{found:?}");
    }
}
