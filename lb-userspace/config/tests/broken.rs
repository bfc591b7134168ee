//! Every file in `tests/broken` gives exactly the errors its own comments announce, each at its place.
//!
//! A comment below a line points up at it: the column of its `^` is the error's (`#<` means column 1). Behind it stands a
//! part of the message and, after `|`, of the hint. Where no comment can stand, `#@ LINE:COLUMN` says the place.

use std::path::{Path, PathBuf};

use lb_config::{Diagnostic, Environment, Severity};

#[derive(Debug)]
struct Expected {
    line: usize,
    column: usize,
    message: String,
    hint: Option<String>,
}

fn expected(text: &str) -> Vec<Expected> {
    let mut about = 0;
    let mut out = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let place = if let Some(rest) = line.strip_prefix("#<") {
            Some((about, 1, rest))
        } else if let Some(rest) = line.strip_prefix("#@ ") {
            let (place, rest) = rest.split_once(' ').expect("#@ LINE:COLUMN message");
            let (line, column) = place.split_once(':').expect("LINE:COLUMN");
            Some((line.parse().expect("a line"), column.parse().expect("a column"), rest))
        } else {
            let pointed = line.strip_prefix('#').and_then(|l| l.trim_start_matches(' ').strip_prefix('^'));
            pointed.map(|rest| (about, line.chars().position(|c| c == '^').expect("a caret") + 1, rest))
        };
        let Some((line, column, rest)) = place else {
            about = i + 1;
            continue;
        };
        let (message, hint) = match rest.split_once(" | ") {
            Some((message, hint)) => (message, Some(hint.trim().to_owned())),
            None => (rest, None),
        };
        out.push(Expected { line, column, message: message.trim().to_owned(), hint });
    }
    out.sort_by_key(|e| (e.line, e.column));
    out
}

fn fits(e: &Expected, d: &Diagnostic) -> bool {
    let hint = d.hint.as_deref().unwrap_or_default();
    (e.line, e.column) == (d.line, d.column)
        && d.message.contains(&e.message)
        && e.hint.as_ref().is_none_or(|h| hint.contains(h))
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let entries = std::fs::read_dir(folder).expect("tests/broken");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn each_broken_file_gives_its_errors_and_no_others() {
    let mut failures = String::new();
    let files = files();
    assert!(files.len() >= 120, "only {} broken files", files.len());
    for path in files {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let expected = expected(&text);
        let found = lb_config::parse_in(&text, &name, &Environment::default()).map(|_| ()).err().unwrap_or_default();
        let good = !expected.is_empty()
            && found.len() == expected.len()
            && expected.iter().zip(&found).all(|(e, d)| fits(e, d) && d.severity == Severity::Error);
        if !good {
            failures += &format!("== {name}\nexpected {expected:#?}\nfound:\n");
            found.iter().for_each(|d| failures += &format!("{d}\n"));
        }
        assert!(found.iter().all(|d| d.file == name && !d.message.is_empty() && d.message.len() < 300));
    }
    assert!(failures.is_empty(), "{failures}");
}

/// The harness can fail.
#[test]
fn expectations_are_read_as_they_stand() {
    let e = expected("a = 1\n#   ^ wrong | do this\n[x]\n#< at the start\n#@ 9:7 far off");
    let read: Vec<_> = e.iter().map(|e| (e.line, e.column, e.message.as_str(), e.hint.as_deref())).collect();
    let wanted = [(1, 5, "wrong", Some("do this")), (3, 1, "at the start", None), (9, 7, "far off", None)];
    assert_eq!(read, wanted);
    let d = lb_config::parse_in("[host]\nsockte = 1\n", "f", &Environment::default()).expect_err("unknown key");
    assert!(fits(&Expected { line: 2, column: 1, message: "sockte".into(), hint: Some("socket".into()) }, &d[0]));
    assert!(!fits(&Expected { line: 2, column: 2, message: "sockte".into(), hint: None }, &d[0]));
}
