//! From a listening socket to a connection that a protocol can serve.

pub(crate) mod accept;
pub(crate) mod opening;
pub mod proxy_protocol;
pub(crate) mod socket;
pub(crate) mod stream;
pub(crate) mod udp;
