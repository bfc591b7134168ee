//! Everything layer 7 should be doing, as one value.

use std::collections::BTreeMap;
use std::sync::Arc;

use lb_model::Name;
use lb_model::http::{Listener, Route};
use lb_upstream::plan::PoolPlan;

/// Every pool that a route names is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpPlan {
    pub listeners: BTreeMap<Name, Arc<Listener>>,
    /// In the file's order.
    pub routes: Vec<Arc<Route>>,
    pub pools: BTreeMap<Name, Arc<PoolPlan>>,
}
