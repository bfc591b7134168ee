//! The HTTP cache of RFC 9111: memory and disk.
#![forbid(unsafe_code)]
