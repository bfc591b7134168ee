//! The lab (hosts in network namespaces), the load tools, and what the suites share to look at the product from outside.
#![forbid(unsafe_code)]

pub mod authority;
pub mod clock;
pub mod daemon;
pub mod http;
pub mod lab;
pub mod load;
pub mod packet;
