//! The control plane: desired state, changes by CLI, health, draining and names come in; differences for the data plane
//! go out. One task owns the truth ([`Controller`]); everybody else holds a [`Handle`].
#![forbid(unsafe_code)]

mod apply;
mod commands;
pub mod controller;
mod core;
pub mod difference;
pub mod drain;
pub mod error;
pub mod former;
pub mod handle;
pub mod health;
pub mod names;
pub mod overrides;
mod publish;
pub mod reconcile;
mod reload;
pub mod resolver;
pub mod state;
mod task;
pub mod totals;
pub mod truth;
pub mod view;
mod watch;

pub use controller::{Controller, ControllerOptions, Source};
pub use error::{CommandError, ControlError, ReloadError};
pub use handle::{FlowQuery, Handle, PlanPool, PlanReport, ReloadReport};
/// Types of the rooms below that views and answers are made of; the API shows them and knows no other room.
pub use lb_config::{Diagnostic, nearest};
pub use lb_dataplane::{BackendCounters, Explanation, FlowRecord, InterfaceStatus, PlaneKind, ServiceCounters, Step};
pub use view::{BackendState, BackendView, Origin, PoolView, ServiceView, View};
