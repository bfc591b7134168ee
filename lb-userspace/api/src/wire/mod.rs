//! The JSON documents of the control socket, which `--json` prints as they are. Fields are only ever added.

pub mod backend;
pub mod explain;
pub mod fault;
pub mod flow;
pub mod http;
pub mod plan;
pub mod route;
pub mod service;
pub mod status;

pub use backend::{BackendAdd, BackendDoc, BackendDrain, BackendSet, Done};
pub use explain::{ExplainDoc, StepDoc};
pub use fault::{DiagnosticDoc, Fault, FaultKind};
pub use flow::FlowDoc;
pub use http::{
    CacheStatsDoc, CandidateDoc, CertificateDoc, ExplainRequestDoc, HttpExplainDoc, PurgeDoc, PurgedDoc, TakeoverDoc,
};
pub use plan::{PlanDoc, PlanPoolDoc, PlanRequest, ReloadDoc};
pub use route::{ListenerDoc, RouteDetailDoc, RouteDoc};
pub use service::{ServiceDetailDoc, ServiceDoc};
pub use status::{ExportDoc, InterfaceDoc, PoolDoc, StatusDoc};
