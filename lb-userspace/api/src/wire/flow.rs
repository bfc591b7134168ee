//! Flows, as `lb flows --json` lists them.

use serde::{Deserialize, Serialize};

/// One row of `lb flows --json`; `client`, `vip` and `backend` are `ip:port`, IPv6 in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowDoc {
    pub service: String,
    pub protocol: String,
    pub client: String,
    pub vip: String,
    pub backend: String,
    pub state: String,
    pub age_seconds: u64,
    pub idle_seconds: u64,
    pub packets: u64,
    pub bytes: u64,
}
