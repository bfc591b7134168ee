//! Layer 7: explanations, the cache, certificates, taking over.

use serde::{Deserialize, Serialize};

use super::explain::StepDoc;

/// `POST /v1/explain`: a request that nobody sends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequestDoc {
    pub method: String,
    /// Absolute.
    pub url: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// The client's address; absent: loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Where the URL's scheme and port do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
}

/// `lb explain --request … --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpExplainDoc {
    /// `forward` or `respond`.
    pub verdict: String,
    pub reason: String,
    pub listener: Option<String>,
    /// `null`: none matches.
    pub route: Option<String>,
    /// With the verdict `respond`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    pub pool: Option<String>,
    /// `ip:port`; `null` where chance or state decides, or nobody is asked.
    pub backend: Option<String>,
    /// Who may be chosen where chance or state decides.
    pub candidates: Vec<CandidateDoc>,
    pub steps: Vec<StepDoc>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateDoc {
    pub pool: String,
    /// `ip:port`.
    pub backend: String,
    pub weight: u32,
}

/// `lb cache stats --json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStatsDoc {
    pub hits: u64,
    pub misses: u64,
    pub stored: u64,
    pub evicted: u64,
    pub entries: u64,
    pub bytes: u64,
}

/// `POST /v1/cache/purge`: exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PurgeDoc {
    /// A URL as the client writes it.
    Key(String),
    /// The beginning of URLs.
    Prefix(String),
    Tag(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgedDoc {
    pub purged: u64,
}

/// One row of `lb cert list --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateDoc {
    pub names: Vec<String>,
    pub issuer: Option<String>,
    /// RFC 3339.
    pub not_after: Option<String>,
    /// `file` or `acme`.
    pub source: String,
    pub path: Option<String>,
    pub listener: String,
    /// Why what is on disk is not in use.
    pub error: Option<String>,
}

/// `POST /v1/takeover`: where the process that takes over waits for sockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeoverDoc {
    /// A Unix socket's path.
    pub path: String,
}
