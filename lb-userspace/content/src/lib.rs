//! What is answered from here and how bodies are encoded: files, ranges, compression.
#![forbid(unsafe_code)]

pub mod compress;
pub mod files;

pub use compress::{encode, negotiate};
pub use files::{Refused, serve};
