//! Services.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::backend::BackendDoc;

/// One row of `lb service list --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceDoc {
    pub name: String,
    pub listen: String,
    pub pool: String,
    pub forward: String,
    pub algorithm: String,
    pub active_flows: u64,
    pub flows_total: u64,
    pub packets: u64,
    pub bytes: u64,
    /// Packets dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// `lb service show NAME --json`: the row, every attribute in force, and the backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceDetailDoc {
    #[serde(flatten)]
    pub service: ServiceDoc,
    /// `none` or `client-ip`.
    pub affinity: String,
    pub affinity_timeout_seconds: Option<u64>,
    /// `auto`, `off` or a number.
    pub mss_clamp: String,
    pub idle_timeout_seconds: u64,
    pub drain_timeout_seconds: u64,
    /// Empty: everybody.
    pub allow: Vec<String>,
    pub deny: Vec<String>,
    pub rate_limit: Option<RateLimitDoc>,
    /// `v1`, `v2` or absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_proxy: Option<String>,
    pub backends: Vec<BackendDoc>,
}

/// New flows per client address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimitDoc {
    /// One new flow per so many microseconds on average.
    pub interval_us: u64,
    pub burst: u32,
}
