//! The sources of Rust's `core`, which is built anew for the BPF target.

use std::path::Path;

use super::Missing;
use crate::shell;

/// As in `rust-toolchain.toml`.
const TOOLCHAIN: &str = "1.95.0";

pub(super) fn is_missing() -> bool {
    let sysroot = shell::output(shell::command("rustc").args(["--print", "sysroot"]));
    sysroot.map_or(true, |s| !Path::new(&s).join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file())
}

pub(super) fn missing() -> Missing {
    let arguments = ["component", "add", "rust-src", "--toolchain", TOOLCHAIN];
    Missing {
        what: "rust-src".into(),
        fix: format!("rustup {}", arguments.join(" ")),
        install: Box::new(move || shell::run(shell::command("rustup").args(arguments))),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_toolchain_is_the_pinned_one() {
        let pinned = std::fs::read_to_string(crate::house::root().join("rust-toolchain.toml")).expect("readable");
        assert!(pinned.contains(&format!("channel = \"{}\"", super::TOOLCHAIN)));
    }
}
