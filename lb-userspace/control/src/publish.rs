//! What others see of the control plane: the view, flows, explanations and the export.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use lb_common::reason::Reason;
use lb_dataplane::plan::Ends;
use lb_dataplane::{Counters, Explanation, FlowRecord, PlaneKind, Probe, Step};
use lb_gateway::{Gateway, HttpCounters};
use lb_model::http::Route;
use lb_model::{Algorithm, BackendId, Name, Observation, Protocol};

use crate::controller::Source;
use crate::core::Core;
use crate::drain::{Drain, Drains, Key, Phase, Why};
use crate::error::CommandError;
use crate::handle::FlowQuery;
use crate::health::target;
use crate::overrides::Entry;
use crate::state::Now;
use crate::view::{BackendState, BackendView, ListenerView, Origin, PoolView, RouteView, ServiceView, View};

impl Core {
    pub(crate) fn view(&mut self, now: Now) -> View {
        let http = self.layer_7.counters();
        let counters = self.counters_with(&http);
        let plane = self.plane.as_ref();
        let kind = plane.map_or(PlaneKind::Userspace, |p| p.kind());
        let told = plane.and_then(|p| p.told());
        let interfaces = plane.map(|p| p.interfaces()).unwrap_or_default();
        if self.counts_end_with_us() {
            // They end with the process; what has been shown must not be taken back.
            self.save_seen(false);
        }
        View {
            version: env!("CARGO_PKG_VERSION"),
            data_plane: kind,
            data_plane_reason: told.unwrap_or_else(|| self.plane_reason.clone()),
            interfaces,
            services: self.services(&counters),
            pools: self.pools(&counters, now),
            listeners: self.listeners(&http),
            routes: self.routes(&http),
            http,
            uptime: now.instant.saturating_duration_since(self.started),
            overrides: self.truth.kept.words(&self.truth.desired),
            memory_bytes: counters.memory_bytes,
            flows: counters.flows,
            flow_capacity: counters.flow_capacity,
            unowned: counters.unowned,
            config_path: self.config_path(),
            last_reload_error: self.last_reload_error.clone(),
            notes: self.all_notes(),
        }
    }

    pub(crate) fn config_path(&self) -> Option<PathBuf> {
        match &self.source {
            Source::File(path) => Some(path.clone()),
            Source::Flags => None,
        }
    }

    fn all_notes(&self) -> Vec<String> {
        let mut out = self.notes.clone();
        out.extend(self.restart_notes.iter().cloned());
        out.extend(self.truth.conflicts.iter().cloned());
        out.extend(self.failing.iter().map(|(what, why)| format!("not in force yet: {what}: {why}")));
        out.extend(self.names.failures());
        out
    }

    fn services(&self, counters: &Counters) -> Vec<ServiceView> {
        let one = |service: &lb_model::Service| ServiceView {
            algorithm: self.truth.desired.pools.get(&service.pool).map(|p| p.algorithm).unwrap_or_default(),
            counters: counters.services.get(&service.name).cloned().unwrap_or_default(),
            service: service.clone(),
        };
        self.truth.desired.services.values().map(one).collect()
    }

    fn listeners(&self, http: &HttpCounters) -> Vec<ListenerView> {
        let counters = |name| http.listeners.get(name).copied().unwrap_or_default();
        let listeners = self.layer_7.in_force.listeners.iter();
        listeners.map(|(n, l)| ListenerView { listener: Arc::clone(l), counters: counters(n) }).collect()
    }

    fn routes(&self, http: &HttpCounters) -> Vec<RouteView> {
        let counters = |r: &Route| http.routes.get(&r.name).copied().unwrap_or_default();
        let routes = self.layer_7.in_force.routes.iter();
        routes.map(|r| RouteView { counters: counters(r), route: Arc::clone(r) }).collect()
    }

    fn pools(&self, counters: &Counters, now: Now) -> Vec<PoolView> {
        let mut out: BTreeMap<Name, PoolView> = BTreeMap::new();
        let ejected = self.layer_7.gateway.as_ref().map(Gateway::ejected).unwrap_or_default();
        for (name, entries) in self.truth.pools() {
            let algorithm = self.truth.desired.pools.get(name).map(|p| p.algorithm).unwrap_or_default();
            let backends = entries.into_iter().map(|e| self.backend_view(name, e, counters, now)).collect();
            let desired = self.truth.desired.pools.get(name).filter(|_| self.truth.desired.is_in_layer_7(name));
            let http_algorithm = desired.map(|p| p.http.algorithm);
            out.insert(name.clone(), PoolView { name: name.clone(), algorithm, http_algorithm, backends });
        }
        for (key, drain) in self.truth.drains.iter().filter(|(_, d)| d.is_leaving() && !d.is_hidden()) {
            let Why::Leaving { remains, .. } = &drain.why else { continue };
            let name = &key.backend.pool;
            let entry = Entry {
                address: key.backend.address.clone(),
                weight: remains.weight,
                draining: true,
                backup: false,
                origin: Origin::File,
            };
            let view = self.backend_view(name, entry, counters, now);
            let view = BackendView { resolved: remains.addresses.clone(), ..view };
            let empty = |algorithm: Algorithm| PoolView {
                name: name.clone(),
                algorithm,
                http_algorithm: remains.http.as_ref().map(|h| h.algorithm),
                backends: Vec::new(),
            };
            out.entry(name.clone()).or_insert_with(|| empty(remains.algorithm)).backends.push(view);
        }
        let mut out: Vec<PoolView> = out.into_values().collect();
        for backend in out.iter_mut().flat_map(|p| &mut p.backends) {
            let id = BackendId { pool: backend.pool.clone(), address: backend.address.clone() };
            let Some(why) = ejected.get(&id) else { continue };
            let why = if why.starts_with("ejected") { why.clone() } else { format!("ejected: {why}") };
            backend.health = match &backend.health {
                Observation::Unhealthy(check) => Observation::Unhealthy(format!("{why}; {check}")),
                _ => Observation::Unhealthy(why),
            };
        }
        out
    }

    fn backend_view(&self, pool: &Name, entry: Entry, counters: &Counters, now: Now) -> BackendView {
        let id = BackendId { pool: pool.clone(), address: entry.address.clone() };
        let drain = drain_of(&self.truth.drains, &id);
        let resolved = self.truth.addresses(pool, &entry, &self.names);
        BackendView {
            pool: pool.clone(),
            weight: entry.weight.get(),
            state: match drain {
                None => BackendState::Active,
                Some(d) if d.is_done() => BackendState::Drained,
                Some(_) => BackendState::Draining,
            },
            health: self.health_of(pool, &entry, &resolved, drain),
            counters: counters.backends.get(&id).cloned().unwrap_or_default(),
            drain_deadline_in: drain.and_then(|d| match d.phase {
                Phase::Waiting { deadline } => Some(deadline.saturating_duration_since(now.instant)),
                _ => None,
            }),
            leaving: drain.is_some_and(Drain::is_leaving),
            source: entry.origin,
            address: entry.address,
            resolved,
        }
    }

    /// Healthy if any of its addresses is; unhealthy if all are, for the first one's reason.
    fn health_of(
        &self,
        pool: &Name,
        entry: &Entry,
        resolved: &[std::net::IpAddr],
        drain: Option<&Drain>,
    ) -> Observation {
        let Some(pool) = self.truth.desired.pools.get(pool) else { return Observation::Unknown };
        let ips = match drain.map(|d| &d.why) {
            Some(Why::Leaving { remains, .. }) => &remains.addresses,
            _ => resolved,
        };
        let seen =
            ips.iter().map(|ip| self.health.of(target(&self.truth.desired, pool, *ip, entry.address.port()).as_ref()));
        let mut seen: Vec<Observation> = seen.collect();
        if seen.contains(&Observation::Healthy) {
            return Observation::Healthy;
        }
        match seen.iter().position(|o| *o == Observation::Unknown) {
            None if !seen.is_empty() => seen.swap_remove(0),
            _ => Observation::Unknown,
        }
    }

    pub(crate) fn flows(&self, query: &FlowQuery) -> Result<Vec<FlowRecord>, CommandError> {
        let service = query.service.as_deref().map(|s| self.service_name(s)).transpose()?;
        let query = lb_dataplane::FlowQuery { service, limit: query.limit };
        Ok(self.plane.as_ref().map(|p| p.flows(&query)).unwrap_or_default())
    }

    pub(crate) fn explain(&self, from: SocketAddr, to: SocketAddr, protocol: Protocol) -> Explanation {
        match &self.plane {
            Some(plane) => plane.explain(&Probe { ends: Ends { client: from, vip: to }, protocol }),
            None => passed("the data plane has been let go"),
        }
    }

    /// What is in force as a file, changes by CLI written into it.
    pub(crate) fn export(&self) -> String {
        let with = self.truth.overrides.written_into(&self.truth.desired);
        let mut out = String::new();
        for line in self.truth.overrides.words(&self.truth.desired) {
            out.push_str(&format!("# by CLI: {line}\n"));
        }
        out.push_str(&lb_config::export(&with.unwrap_or_else(|_| self.truth.desired.clone())));
        out
    }
}

fn drain_of<'a>(drains: &'a Drains, id: &BackendId) -> Option<&'a Drain> {
    drains.get(&Key::from(id.clone()))
}

/// The answer when there is no data plane to ask.
pub(crate) fn passed(why: &str) -> Explanation {
    Explanation {
        verdict: Reason::NotOurs.verdict(),
        reason: Reason::NotOurs,
        service: None,
        pool: None,
        slot: None,
        backend: None,
        next_hop: None,
        steps: vec![Step { stage: "control", decision: "pass".to_owned(), why: why.to_owned() }],
    }
}
