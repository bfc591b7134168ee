//! `cargo xtask`: the habits of the house.
fn main() {}
