//! Packets through the loaded program, one at a time by `BPF_PROG_TEST_RUN`: what goes in, what must come out, and which
//! counters must move.
//!
//! [`layers`] writes packets, [`world`] the tables they meet, [`program`] loads both into the kernel, and
//! [`case::check`] compares. [`reference`] is the same balancer once more, in plain Rust, for the differential test.

pub mod case;
pub mod cast;
pub mod compare;
pub mod layers;
pub mod program;
pub mod random;
pub mod reference;
pub mod shelf;
pub mod sums;
pub mod text;
pub mod wire;
pub mod world;
