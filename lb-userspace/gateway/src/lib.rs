//! Layer 7: from the listener to the log line.
//!
//! [`Gateway`] is the control plane's door: a [`HttpPlan`] goes in, whole or not at all; counts, explanations and live
//! requests come out.
#![forbid(unsafe_code)]

mod chores;
mod clock;
mod connection;
mod digits;
pub mod door;
mod engine;
pub mod explain;
mod file;
mod forward;
mod interim;
mod key;
pub mod listener;
mod log;
pub mod plan;
mod protocol;
mod record;
mod request;
mod snapshot;
pub mod stage;
mod stats;
pub mod tap;
mod trace;
mod tunnel;
pub mod view;
mod worker;

pub use door::{Gateway, GatewayError, GatewayOptions, Inherited};
pub use explain::{ExplainRequest, HttpCandidate, HttpExplanation, HttpStep};
/// What a plan's pools are made of.
pub use lb_upstream::plan::{MemberPlan, MemberState, PoolPlan};
pub use plan::HttpPlan;
pub use tap::{Tap, TapEvent, TapOptions};
pub use view::{CacheStats, CertificateView, HttpCounters, ListenerCounters, Purge, RouteCounters};
