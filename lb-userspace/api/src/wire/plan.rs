//! What a reload would change, and what it did.

use serde::{Deserialize, Serialize};

use super::fault::DiagnosticDoc;

/// `POST /v1/plan`: a whole configuration as text, and what to call it in errors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    pub config: String,
    pub file: String,
}

/// `lb plan --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanDoc {
    pub pools: Vec<PlanPoolDoc>,
    /// What changes of services, in words.
    pub services: Vec<String>,
    pub routes: Vec<String>,
    /// What the new file would not change without a restart.
    pub notes: Vec<String>,
    pub warnings: Vec<DiagnosticDoc>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanPoolDoc {
    pub pool: String,
    /// Addresses.
    pub added: Vec<String>,
    pub removed: Vec<String>,
    /// Slots of the new selection table that another backend owns than before.
    pub slots_moved: u64,
    /// Slots of the new table.
    pub slots: u64,
    /// Flows now carried that would be ended or scheduled anew.
    pub live_flows_moved: u64,
}

/// `lb reload --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadDoc {
    /// What changed, in words; empty: nothing.
    pub changes: Vec<String>,
    pub warnings: Vec<DiagnosticDoc>,
    /// Keys that changed in the file but need a restart.
    pub notes: Vec<String>,
}
