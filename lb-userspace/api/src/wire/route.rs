//! Layer 7: routes and listeners.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One row of `lb route list --json`. What answers stands under its key of the file: `pool` (null otherwise), `split`,
/// `redirect`, `respond` or `files`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteDoc {
    pub name: String,
    /// Names of the listeners it is on.
    pub listener: Vec<String>,
    /// As in the file; an empty object matches everything.
    #[serde(rename = "match")]
    pub matching: MatchDoc,
    pub pool: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Vec<SplitDoc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<RedirectDoc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub respond: Option<RespondDoc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesDoc>,
    pub policies: Vec<String>,
    pub requests: u64,
    /// Responses of 500 to 599.
    pub errors: u64,
    /// Half of the requests, and 99 of 100, took no longer than so many milliseconds, as far as the histogram's buckets
    /// tell; null before the first request.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MatchDoc {
    /// A host, or a list of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cookies: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitDoc {
    pub pool: String,
    pub weight: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedirectDoc {
    pub to: String,
    pub status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RespondDoc {
    pub status: u16,
    pub body: String,
    pub headers: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesDoc {
    pub root: String,
}

/// `lb route show NAME --json`: the row, and every attribute in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteDetailDoc {
    #[serde(flatten)]
    pub route: RouteDoc,
    /// Key → value, each as the file would have it; what is not in force is absent.
    pub settings: BTreeMap<String, Value>,
}

/// A listener, in `lb status --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerDoc {
    pub name: String,
    pub listen: String,
    /// `h1`, `h2`, `h3`, `h2c`.
    pub protocols: Vec<String>,
    pub tls: bool,
    /// Open now.
    pub connections: u64,
    pub connections_total: u64,
    pub requests_total: u64,
    pub tls_failures: u64,
    /// Connections closed for what their PROXY header was, or was not.
    pub proxy_refused: u64,
}
