//! Backends, and the requests that change them.

use serde::{Deserialize, Serialize};

/// One row of `lb backend list --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendDoc {
    pub pool: String,
    /// As configured.
    pub address: String,
    pub weight: u32,
    /// `active`, `draining` or `drained`.
    pub state: String,
    /// `healthy`, `unhealthy` or `unknown`.
    pub health: String,
    /// Why the health is what it is, in words.
    pub reason: String,
    pub active_flows: u64,
    pub flows_total: u64,
    /// Client to backend.
    pub packets: u64,
    /// Client to backend, layer-3 bytes.
    pub bytes: u64,
    /// The addresses of a host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Vec<String>>,
    /// Seconds until a draining backend's remaining flows are ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_seconds_left: Option<u64>,
    /// It is on its way out of the pool, and disappears once drained.
    #[serde(default, skip_serializing_if = "is_false")]
    pub leaving: bool,
    /// `file` or `cli`.
    pub source: String,
}

fn is_false(b: &bool) -> bool {
    !b
}

/// `POST /v1/pools/{pool}/backends`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendAdd {
    pub address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}

/// `PATCH /v1/pools/{pool}/backends/{address}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendSet {
    pub weight: u32,
}

/// `POST /v1/pools/{pool}/backends/{address}/drain`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendDrain {
    /// Milliseconds; absent: the longest `drain_timeout` of the services that share the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// The answer to a change: what was done, in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    pub done: String,
}
