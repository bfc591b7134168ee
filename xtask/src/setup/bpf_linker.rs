//! The linker of eBPF programs, and the LLVM it is built from.

use super::{Missing, apt};
use crate::shell;

const VERSION: &str = "0.13.0";
const LLVM: &str = "/usr/lib/llvm-22";
/// What building it needs.
const PACKAGES: [&str; 5] = ["llvm-22-dev", "libpolly-22-dev", "libzstd-dev", "zlib1g-dev", "g++"];

/// It is there only if it also starts: its LLVM may have been removed from under it.
pub(super) fn is_missing() -> bool {
    let Some(linker) = shell::find("bpf-linker") else { return true };
    shell::output(shell::command(linker).arg("--version")).is_err()
}

pub(super) fn missing_packages() -> Vec<&'static str> {
    PACKAGES.into_iter().filter(|p| !apt::has(p)).collect()
}

fn arguments() -> [String; 5] {
    [
        "install".into(),
        format!("bpf-linker@{VERSION}"),
        "--locked".into(),
        "--no-default-features".into(),
        "--features=llvm-22".into(),
    ]
}

pub(super) fn missing() -> Missing {
    Missing {
        what: format!("bpf-linker {VERSION} (takes a few minutes)"),
        fix: format!("LLVM_PREFIX={LLVM} cargo {}", arguments().join(" ")),
        install: Box::new(|| shell::run(shell::cargo().args(arguments()).env("LLVM_PREFIX", LLVM))),
    }
}
