//! Balancing in user space: a picker is built whole from a pool's members and never changes.
#![forbid(unsafe_code)]
