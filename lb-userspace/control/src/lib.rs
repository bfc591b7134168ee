//! The control plane: desired state, changes by CLI, health, draining and names come in; differences for the data plane
//! go out. One task owns the truth ([`Controller`]); everybody else holds a [`Handle`].
#![forbid(unsafe_code)]

pub mod controller;
pub mod error;
pub mod handle;
pub mod view;

pub use controller::{Controller, ControllerOptions, Source};
pub use error::{CommandError, ControlError, ReloadError};
pub use handle::{FlowQuery, Handle, PlanPool, PlanReport, ReloadReport};
pub use view::{BackendState, BackendView, Origin, PoolView, ServiceView, View};
