//! The control plane: desired state, changes by CLI, health, draining and names come in; differences for the data plane
//! go out. One task owns the truth ([`Controller`]); everybody else holds a [`Handle`].
#![forbid(unsafe_code)]

mod apply;
mod commands;
pub mod controller;
mod core;
pub mod difference;
pub mod difference_http;
pub mod drain;
pub mod error;
pub mod former;
pub mod handle;
mod handle_http;
mod handover;
pub mod health;
pub mod http_plan;
mod layer7;
pub mod names;
pub mod overrides;
mod publish;
pub mod reconcile;
mod reload;
pub mod resolver;
mod seats;
pub mod state;
mod task;
pub mod totals;
pub mod truth;
pub mod view;
mod watch;

pub use controller::{Controller, ControllerOptions, Source};
pub use error::{CommandError, ControlError, ReloadError};
pub use handle::{FlowQuery, Handle, PlanPool, PlanReport, ReloadReport};
pub use layer7::HttpOptions;
/// Types of the rooms below that views and answers are made of; the API shows them and knows no other room.
pub use lb_config::{Diagnostic, DurationText, nearest};
pub use lb_dataplane::{BackendCounters, Explanation, FlowRecord, InterfaceStatus, PlaneKind, ServiceCounters, Step};
pub use lb_gateway::view::{Histogram, LATENCY_BUCKETS};
/// Layer 7's, likewise.
pub use lb_gateway::{
    CacheStats, CertificateView, ExplainRequest, GatewayError, HttpCandidate, HttpCounters, HttpExplanation, HttpStep,
    Inherited, ListenerCounters, Purge, RouteCounters, Tap, TapOptions,
};
pub use view::{BackendState, BackendView, ListenerView, Origin, PoolView, RouteView, ServiceView, View};
