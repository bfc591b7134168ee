//! Tables to drafts: every value in the model's types, each entity still with its places, nothing cross-checked yet.

mod certificate;
mod health;
mod host;
mod host_name;
mod listener;
mod places;
mod pool;
mod route;
mod service;
mod upstream;

use std::path::Path;

use lb_model::Desired;

use crate::environment::Environment;
use crate::report::Report;
use crate::table::Table;

pub(crate) use host::DraftHost;
pub(crate) use listener::DraftListener;
pub(crate) use places::NamedFile;
pub(crate) use pool::{DraftBackend, DraftPool};
pub(crate) use route::DraftRoute;
pub(crate) use service::DraftService;

/// The whole file, as far as it could be read. A field that is `None` was wrong, and has been reported.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) host: DraftHost,
    pub(crate) pools: Vec<DraftPool>,
    pub(crate) services: Vec<DraftService>,
    pub(crate) listeners: Vec<DraftListener>,
    pub(crate) routes: Vec<DraftRoute>,
    /// What must be there once this is put in force.
    pub(crate) files: Vec<NamedFile>,
}

/// Relative paths begin at `directory`.
pub(crate) fn draft(root: &Table, directory: &Path, environment: &Environment, report: &mut Report<'_>) -> Draft {
    let tables = |key| root.get::<Vec<Table>>(key).unwrap_or_default();
    let places = &mut places::Places::new(directory);
    Draft {
        host: host::read(root.get("host"), directory, environment, report),
        pools: tables("pool").into_iter().map(|t| pool::read(t, places, report)).collect(),
        services: tables("service").into_iter().map(|t| service::read(t, report)).collect(),
        listeners: tables("listener").into_iter().map(|t| listener::read(t, places, report)).collect(),
        routes: tables("route").into_iter().map(|t| route::read(t, places, report)).collect(),
        files: std::mem::take(&mut places.named),
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
        for listener in self.listeners.into_iter().filter_map(DraftListener::into_listener) {
            desired.listeners.insert(listener.name.clone(), listener);
        }
        desired.routes = self.routes.into_iter().filter_map(DraftRoute::into_route).collect();
        desired
    }
}
