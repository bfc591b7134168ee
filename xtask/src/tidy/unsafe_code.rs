//! `unsafe` stands only in the kernel's half and in the few façades over system interfaces; elsewhere it is forbidden.

use super::{File, Finding};

/// Files and folders that may hold `unsafe`; everything below a path that ends in `/`.
const ALLOWED: [&str; 6] = [
    "lb-ebpf/src/",
    "lb-common/src/plain.rs",
    // The environment of a build script that has no other thread.
    "lb-userspace/dataplane/build.rs",
    "lb-userspace/dataplane/src/ebpf/batch.rs",
    "lb-userspace/dataplane/src/ebpf/netlink.rs",
    "lb-userspace/dataplane/src/user/sys.rs",
];

/// Packages with a file above: their root cannot forbid it.
const FACADES: [&str; 3] = ["lb-ebpf", "lb-common", "lb-userspace/dataplane"];

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for f in files.iter().filter(|f| f.path.ends_with(".rs")) {
        let allowed = ALLOWED.iter().any(|a| f.path == *a || (a.ends_with('/') && f.path.starts_with(a)));
        if !allowed && let Some(line) = f.text.lines().position(uses_unsafe) {
            let place = format!("{}:{}", f.path, line + 1);
            findings.push(Finding::new(place, "unsafe code belongs in the façades named in xtask/src/tidy"));
        }
        if is_root(&f.path) && !is_facade(&f.path) && !f.text.contains("#![forbid(unsafe_code)]") {
            findings.push(Finding::new(&f.path, "must say #![forbid(unsafe_code)]"));
        }
    }
    findings
}

fn is_root(path: &str) -> bool {
    path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs")
}

fn is_facade(path: &str) -> bool {
    FACADES.iter().any(|p| path.strip_prefix(p).is_some_and(|rest| rest.starts_with("/src/")))
}

/// Does the line's code, comments and literals aside, hold the keyword?
fn uses_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let outside: String = code.split('"').step_by(2).collect();
    outside.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn the_keyword_is_told_from_its_mention() {
        for line in ["unsafe { a() }", "pub unsafe fn a()", "let x=unsafe{1};", "unsafe impl Pod for A {}"] {
            assert!(uses_unsafe(line), "{line}");
        }
        for line in ["// unsafe", "#![forbid(unsafe_code)]", "/// is unsafe {", "let a = \"unsafe\";"] {
            assert!(!uses_unsafe(line), "{line}");
        }
    }

    #[test]
    fn it_is_found_outside_the_facades_only() {
        let text = "//! A.\n#![forbid(unsafe_code)]\nfn a() { unsafe { b() } }\n";
        assert_eq!(check(&[file("lb-ebpf/src/packet/a.rs", text)]), []);
        let found = check(&[file("lb-userspace/model/src/lib.rs", text)]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "lb-userspace/model/src/lib.rs:3");
    }

    #[test]
    fn roots_must_forbid_it() {
        assert_eq!(check(&[file("lb-userspace/model/src/lib.rs", "//! A.\n")]).len(), 1);
        assert_eq!(check(&[file("lb-ebpf/src/main.rs", "//! A.\n"), file("a/src/b.rs", "//! A.\n")]), []);
    }
}
