//! What the daemon tells of itself: logs on standard error, metrics for Prometheus, traces for OpenTelemetry.
#![forbid(unsafe_code)]

pub mod access;
pub mod exporter;
pub mod http_metrics;
pub mod log;
pub mod metrics;
pub mod text;
pub mod traces;

pub use access::AccessLog;
pub use exporter::{Endpoint, Exporter, ExporterError};
pub use http_metrics::HttpSnapshot;
pub use metrics::{BackendSample, ServiceSample, Snapshot, Traffic};
