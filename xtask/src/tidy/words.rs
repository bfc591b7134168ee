//! The project speaks of itself alone: no path of some machine, no number of some ticket in its files.

use super::{File, Finding};

/// Folders that exist on one machine only.
const PATHS: [&str; 4] = ["/wo\u{72}k/", "/tm\u{70}/brief", "/ro\u{6f}t/", "/Us\u{65}rs/"];

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for f in files {
        for (n, line) in f.text.lines().enumerate() {
            let place = || format!("{}:{}", f.path, n + 1);
            if let Some(path) = PATHS.iter().find(|p| names_path(line, p)) {
                findings.push(Finding::new(place(), format!("names a path of one machine ({path})")));
            }
            if names_ticket(line) {
                findings.push(Finding::new(place(), "names a ticket; say what it is about instead"));
            }
        }
    }
    findings
}

/// The path stands there as an absolute one, not as the tail of another.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '~' | '/' | '*')))
    })
}

/// The word "issue" with a number after it.
fn names_ticket(line: &str) -> bool {
    let lower = line.to_lowercase();
    lower.match_indices("issue").any(|(at, word)| {
        let starts = lower[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric());
        let rest = lower[at + word.len()..].trim_start_matches(['s', ' ', '#']);
        let apart = lower[at + word.len()..].starts_with([' ', '#', 's']);
        starts && apart && rest.starts_with(|c: char| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn machine_paths_are_found() {
        for p in PATHS {
            assert_eq!(check(&[file("a.md", &format!("see {p}x\n"))]).len(), 1, "{p}");
        }
        let fine = "cd net/work/x; a/b/root/c; the /v1/status path\n";
        assert_eq!(check(&[file("a.md", fine)]), []);
    }

    #[test]
    fn ticket_numbers_are_found() {
        let word = "iss\u{75}e";
        for text in [format!("as {word} 3 says"), format!("{word} #12"), format!("{}s 4 and 5", word.to_uppercase())] {
            assert_eq!(check(&[file("a.rs", &text)]).len(), 1, "{text}");
        }
        for text in ["an issue of trust", "issued 3 times", "reissue 4"] {
            assert_eq!(check(&[file("a.rs", text)]), [], "{text}");
        }
    }
}
