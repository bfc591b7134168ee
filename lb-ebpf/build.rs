//! Asks the linker for 32-bit ALU instructions: with them come the atomic operations that return the old value
//! (BPF ISA v3, kernel 5.12).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bins=--cpu-features=+alu32");
}
