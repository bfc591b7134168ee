//! What is answered from here and how bodies are encoded: files, ranges, compression.
#![forbid(unsafe_code)]

pub mod compress;
mod condition;
mod encoder;
pub mod files;
mod open;
mod range;
mod send;

pub use compress::{encode, negotiate};
pub use files::{Refused, serve};
