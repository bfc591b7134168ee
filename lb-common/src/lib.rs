//! What both halves of `lb` must agree on: the layouts of map keys and values, the reasons of verdicts, the hashes and
//! the tables. No I/O, no clock, no allocation except behind the `alloc` feature.
#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod plain;

pub mod backend;
pub mod bench;
pub mod checksum;
pub mod flow;
pub mod hash;
pub mod layout;
#[cfg(feature = "alloc")]
pub mod maglev;
pub mod maps;
pub mod net;
pub mod pool;
pub mod reason;
pub mod service;
pub mod time;
#[cfg(feature = "alloc")]
pub mod wrr;
