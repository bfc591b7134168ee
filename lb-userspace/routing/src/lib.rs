//! Which route a request takes: normalised paths, compiled tables, rewriting; no I/O.
#![forbid(unsafe_code)]
