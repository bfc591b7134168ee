//! What the daemon tells of itself: logs on standard error, metrics for Prometheus.
#![forbid(unsafe_code)]

pub mod exporter;
pub mod log;
pub mod metrics;
pub mod text;

pub use exporter::{Endpoint, Exporter, ExporterError};
pub use metrics::{BackendSample, ServiceSample, Snapshot, Traffic};
