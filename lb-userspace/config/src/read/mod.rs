//! Tables to drafts: every value in the model's types, each entity still with its places, nothing cross-checked yet.

mod health;
mod host;
mod pool;
mod service;

use std::path::Path;

use lb_model::Desired;

use crate::environment::Environment;
use crate::report::Report;
use crate::table::Table;

pub(crate) use host::DraftHost;
pub(crate) use pool::{DraftBackend, DraftPool};
pub(crate) use service::DraftService;

/// The whole file, as far as it could be read. A field that is `None` was wrong, and has been reported.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) host: DraftHost,
    pub(crate) pools: Vec<DraftPool>,
    pub(crate) services: Vec<DraftService>,
}

pub(crate) fn draft(root: &Table, environment: &Environment, report: &mut Report<'_>) -> Draft {
    let tables = |key| root.get::<Vec<Table>>(key).unwrap_or_default();
    let directory = Path::new(report.source.file).parent().unwrap_or(Path::new(""));
    Draft {
        host: host::read(root.get("host"), directory, environment, report),
        pools: tables("pool").into_iter().map(|t| pool::read(t, report)).collect(),
        services: tables("service").into_iter().map(|t| service::read(t, report)).collect(),
    }
}

impl Draft {
    /// The desired state, of a draft without errors.
    pub(crate) fn into_desired(self) -> Desired {
        let mut desired = Desired { host: self.host.host, ..Desired::default() };
        for pool in self.pools.into_iter().filter_map(DraftPool::into_pool) {
            desired.pools.insert(pool.name.clone(), pool);
        }
        for service in self.services.into_iter().filter_map(DraftService::into_service) {
            desired.services.insert(service.name.clone(), service);
        }
        desired
    }
}
