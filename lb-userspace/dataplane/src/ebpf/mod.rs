//! The eBPF engine: packets are balanced by an XDP program in the kernel; this side loads it, fills its maps, keeps next
//! hops resolved and ages flows. Every kernel interface has one file: maps, batches, netlink, links and pins.

pub mod adopt;
pub mod attach;
pub mod batch;
pub mod census;
pub mod clock;
mod counters;
pub mod engine;
pub mod expiry;
mod explain;
mod flows;
pub mod hops;
mod interfaces;
pub mod load;
pub mod maps;
pub mod netlink;
pub mod numbers;
pub mod object;
pub mod pass;
pub mod pins;
pub mod ports;
pub mod publish;
pub mod ranges;
pub mod records;
pub mod services;
pub mod snat;
pub mod sweep;
pub mod tables;
pub mod values;

pub use attach::Mode;
pub use engine::EbpfPlane;
pub use load::{LoadOptions, Loaded, Outcome};
pub use maps::Maps;
pub use object::{BENCH_OBJECT, OBJECT};
pub use pins::detach;
pub use ports::NatPorts;
pub use publish::Publisher;
