//! The userspace engine: TCP connections and UDP sessions carried by this process, on any Linux and without privileges.
//!
//! One worker per core ([`worker`]), each with its own listening sockets (`SO_REUSEPORT`), so that a connection lives on
//! one core. What a service does is decided in [`choose`], alike for TCP ([`tcp`], [`relay`], [`pump`]) and UDP ([`udp`],
//! [`sessions`]).
//!
//! Counters: `packets` and `bytes` of UDP are exact. Those of TCP take, while a connection lives, each read from the client
//! for a packet; when it ends they are completed to the segments that the kernel counted and their headers.

mod choose;
mod clock;
mod conns;
mod engine;
mod explain;
mod limits;
mod listen;
mod live;
mod proxy_header;
mod pump;
mod relay;
mod report;
mod sessions;
mod shared;
mod sys;
mod tcp;
mod udp;
mod udp_ports;
mod worker;

pub use engine::UserPlane;
