//! The binary seen from outside: what is typed, and the daemon on the userspace engine over loopback.
#![forbid(unsafe_code)]

mod daemon;
mod layer7;
mod support;
mod takeover;
mod typed;
