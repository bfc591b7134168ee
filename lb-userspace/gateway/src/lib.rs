//! Layer 7: from the listener to the log line.
//!
//! [`Gateway`] is the control plane's door: a [`HttpPlan`] goes in, whole or not at all; counts, explanations and live
//! requests come out.
#![forbid(unsafe_code)]

pub mod door;
pub mod explain;
pub mod plan;
pub mod stage;
pub mod tap;
pub mod view;

pub use door::{Gateway, GatewayError, GatewayOptions, Inherited};
pub use explain::{ExplainRequest, HttpCandidate, HttpExplanation, HttpStep};
/// What a plan's pools are made of.
pub use lb_upstream::plan::{MemberPlan, MemberState, PoolPlan};
pub use plan::HttpPlan;
pub use tap::{Tap, TapEvent, TapOptions};
pub use view::{CacheStats, CertificateView, HttpCounters, ListenerCounters, Purge, RouteCounters};
