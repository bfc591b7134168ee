//! `cargo xtask setup`: installs what is missing, or names the commands that would.

mod apt;
mod bpf_linker;
mod python;
mod rust_src;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::shell;

/// How much of it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// To build everything, the eBPF programs included.
    Build,
    /// And to make networks of namespaces.
    Lab,
    /// And to compare with others.
    Bench,
}

/// A program (or a file, by its path), the Debian package it comes in, and from which scope on it is needed.
const PROGRAMS: [(&str, &str, Scope); 14] = [
    ("ip", "iproute2", Scope::Lab),
    ("ethtool", "ethtool", Scope::Lab),
    ("nft", "nftables", Scope::Lab),
    ("curl", "curl", Scope::Lab),
    ("chromium", "chromium", Scope::Lab),
    ("openssl", "openssl", Scope::Lab),
    ("python3", "python3-venv", Scope::Lab),
    ("nsenter", "util-linux", Scope::Lab),
    ("taskset", "util-linux", Scope::Bench),
    ("haproxy", "haproxy", Scope::Bench),
    ("nginx", "nginx", Scope::Bench),
    ("/usr/lib/nginx/modules/ngx_stream_module.so", "libnginx-mod-stream", Scope::Bench),
    ("wrk", "wrk", Scope::Bench),
    ("h2load", "nghttp2-client", Scope::Bench),
];

/// One thing that is missing: how it is called, and the command that installs it.
struct Missing {
    what: String,
    fix: String,
    install: Box<dyn FnOnce() -> Result<()>>,
}

pub(crate) fn run(scope: Scope) -> Result<ExitCode> {
    ensure(scope)?;
    println!("setup: everything is here");
    Ok(ExitCode::SUCCESS)
}

/// Quick when nothing is missing: a few files are looked at.
pub(crate) fn ensure(scope: Scope) -> Result<()> {
    let missing = missing(scope);
    if missing.is_empty() {
        return Ok(());
    }
    let mut refused = Vec::new();
    for m in missing {
        println!("setup: {} is missing: {}", m.what, m.fix);
        if let Err(e) = (m.install)() {
            refused.push(format!("  {}\n      {}\n      ({e:#})", m.what, m.fix));
        }
    }
    if !refused.is_empty() {
        bail!(
            "this host lacks what could not be installed for you. Please run, then try again:\n{}",
            refused.join("\n")
        );
    }
    // The eBPF object may have been left out of an earlier build; that build's verdict is no longer true.
    shell::run(shell::cargo().args(["clean", "--quiet", "-p", "lb-dataplane"]))
}

fn is_here(program: &str) -> bool {
    if program.starts_with('/') { std::path::Path::new(program).exists() } else { shell::find(program).is_some() }
}

fn missing(scope: Scope) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut packages: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _, from)| *from <= scope && !is_here(program))
        .map(|(_, package, _)| *package)
        .collect();
    let linker = bpf_linker::is_missing();
    if linker {
        packages.extend(bpf_linker::missing_packages());
    }
    packages.dedup();
    if !packages.is_empty() {
        missing.push(apt::missing(packages));
    }
    if rust_src::is_missing() {
        missing.push(rust_src::missing());
    }
    if linker {
        missing.push(bpf_linker::missing());
    }
    if scope >= Scope::Lab {
        missing.extend(python::missing());
    }
    missing
}
