//! What layer 7 is told of a pool: names resolved, health and drains applied.

use std::net::SocketAddr;

use lb_model::http::HttpPool;
use lb_model::{BackendAddress, Name};

/// What a member's condition means for requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemberState {
    Up,
    /// Unhealthy: no new requests, those in flight go on.
    Down,
    /// No new requests; those in flight and tunnels go on, idle connections are closed.
    Draining,
    /// The drain's deadline has passed: what is left is ended.
    Expired,
}

/// A backend at one resolved address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberPlan {
    /// As configured; of a host name there is a member per resolved address.
    pub configured: BackendAddress,
    pub address: SocketAddr,
    /// 0 to 1000.
    pub weight: u16,
    pub backup: bool,
    /// Gets new requests: healthy (or the pool spreads), not draining, weight above 0.
    pub eligible: bool,
    pub state: MemberState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolPlan {
    pub name: Name,
    pub http: HttpPool,
    /// A prime.
    pub maglev_table_size: u32,
    pub members: Vec<MemberPlan>,
}
