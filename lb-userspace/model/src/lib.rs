//! The domain: services, pools, backends and what may be said of them. Valid by construction; no I/O, no clock, no
//! serialisation. Every data plane, the control plane and the CLI speak in these words.
#![forbid(unsafe_code)]

pub mod desired;
pub mod health;
pub mod http;
pub mod listen;
pub mod name;
pub mod pool;
pub mod service;

pub use desired::{AccessLog, AccessLogFormat, Desired, Host, OnExit, PlaneChoice};
pub use health::{HealthCheck, HealthKind, Observation, StatusRange};
pub use listen::{Listen, PortRange, Prefix, Protocol};
pub use name::{BackendId, Name};
pub use pool::{Algorithm, Backend, BackendAddress, HostName, OnAllDown, Pool, Weight};
pub use service::{Affinity, Forward, MssClamp, RateLimit, SendProxy, Service};
