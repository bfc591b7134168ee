//! Data planes: what carries packets and connections. One trait ([`DataPlane`]), two engines: `ebpf` (XDP) and `user`
//! (tokio). The control plane hands over differences ([`Change`]) and reads counters and flows back.

pub mod ebpf;
pub mod plan;
pub mod plane;
pub mod select;
pub mod user;

pub use plan::{Change, Condition, Member, PlanePool, PlaneService, PlaneState};
pub use plane::{
    BackendCounters, Counters, DataPlane, Explanation, FlowQuery, FlowRecord, InterfaceStatus, PlaneError, PlaneKind,
    Probe, ServiceCounters, Step,
};
pub use select::{Started, start, start_beside};
