//! Builds the kernel's half (`lb-ebpf`) and hands the objects to the crate; without its toolchain, says so and goes on.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The toolchain of rust-toolchain.toml; `-Z build-std` is let through by RUSTC_BOOTSTRAP.
const TOOLCHAIN: &str = "1.95.0";

fn main() {
    println!("cargo:rustc-check-cfg=cfg(lb_no_ebpf)");
    println!("cargo:rustc-check-cfg=cfg(lb_no_bench)");
    println!("cargo:rerun-if-env-changed=LB_EBPF");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../../lb-common/src");
    let out: PathBuf = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR").into();
    if let Some(why) = missing() {
        println!("cargo:warning=without the kernel's half: {why}; this lb has the userspace data plane only");
        println!("cargo:rustc-cfg=lb_no_ebpf");
        println!("cargo:rustc-cfg=lb_no_bench");
        return;
    }
    // SAFETY: the build script has no other thread yet.
    unsafe { env::set_var("RUSTC_BOOTSTRAP", "1") };
    let package = aya_build::Package { name: "lb-ebpf", root_dir: "../../lb-ebpf", ..Default::default() };
    if let Err(e) = aya_build::build_ebpf([package], aya_build::Toolchain::Custom(TOOLCHAIN)) {
        panic!("lb-ebpf does not build (LB_EBPF=off builds without it): {e:#}");
    }
    if !out.join("bench").is_file() {
        println!("cargo:rustc-cfg=lb_no_bench");
    }
}

/// What the eBPF build lacks here, if anything.
fn missing() -> Option<String> {
    if env::var_os("LB_EBPF").is_some_and(|v| v == "off") {
        return Some("LB_EBPF=off".to_owned());
    }
    if Command::new("bpf-linker").arg("--version").output().is_err() {
        return Some("bpf-linker is not installed".to_owned());
    }
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_owned();
    let core = Path::new(&sysroot).join("lib/rustlib/src/rust/library/core");
    if core.is_dir() { None } else { Some(format!("the component rust-src is not installed ({})", core.display())) }
}
