//! Where a packet would go, and why.

use serde::{Deserialize, Serialize};

/// `lb explain --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainDoc {
    /// `forward`, `pass`, `drop` or `respond`.
    pub verdict: String,
    pub reason: String,
    pub service: Option<String>,
    pub slot: Option<u32>,
    pub pool: Option<String>,
    /// `ip:port`.
    pub backend: Option<String>,
    pub next_hop: Option<String>,
    pub steps: Vec<StepDoc>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepDoc {
    pub stage: String,
    pub decision: String,
    pub why: String,
}
