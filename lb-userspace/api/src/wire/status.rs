//! The state of the whole at a glance.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::backend::BackendDoc;
use super::route::{ListenerDoc, RouteDoc};
use super::service::ServiceDoc;

/// `lb status --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusDoc {
    pub version: String,
    /// `xdp`, `xdp-generic` or `userspace`.
    pub data_plane: String,
    pub data_plane_reason: String,
    pub interfaces: Vec<InterfaceDoc>,
    pub services: Vec<ServiceDoc>,
    pub pools: Vec<PoolDoc>,
    #[serde(default)]
    pub listeners: Vec<ListenerDoc>,
    #[serde(default)]
    pub routes: Vec<RouteDoc>,
    /// Requests that layer 7 refused, by reason.
    #[serde(default)]
    pub refused: BTreeMap<String, u64>,
    /// Packets of no service that were dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    pub uptime_seconds: u64,
    /// Flows held now.
    pub flows: u64,
    pub flow_capacity: u64,
    /// Reserved for the data plane's tables, in bytes.
    pub memory_bytes: u64,
    /// Changes made by CLI or API that override the file, in words.
    pub overrides: Vec<String>,
    /// The file in force; absent when started from flags.
    pub config: Option<String>,
    /// Why the last reload was refused.
    pub last_reload_error: Option<String>,
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceDoc {
    pub name: String,
    pub index: u32,
    /// `native`, `generic` or `none`.
    pub mode: String,
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolDoc {
    pub name: String,
    pub algorithm: String,
    /// Layer 7's, if a route uses the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_algorithm: Option<String>,
    pub backends: Vec<BackendDoc>,
}

/// `lb export --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportDoc {
    /// TOML: the file and the changes made since, as one configuration.
    pub config: String,
}
