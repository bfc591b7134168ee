//! Stage 6, change it: each way of forwarding, and the answers that the balancer gives itself.
//!
//! IPIP and GUE get files of their own here; `lb_common::service::forward` keeps their numbers.

pub mod echo;
pub mod icmp_error;
pub mod mss;
pub mod nat;
mod quote;
pub mod reset;
