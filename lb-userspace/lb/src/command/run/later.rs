//! A data plane that is started when the first service comes: a file that is all layer 7 needs none.

use std::cell::OnceCell;
use std::time::Instant;

use lb_dataplane::{
    Change, Counters, DataPlane, Explanation, FlowQuery, FlowRecord, InterfaceStatus, PlaneError, PlaneKind,
    PlaneState, Probe,
};
use lb_model::{Desired, Host, PlaneChoice, Service};

pub(super) const REASON: &str = "none is started: the configuration has no [[service]]";

#[derive(Debug)]
struct Engine {
    plane: Box<dyn DataPlane>,
    reason: String,
}

#[derive(Debug)]
pub(super) struct Later {
    host: Host,
    engine: OnceCell<Engine>,
    /// What the engine is to be told first.
    waiting: PlaneState,
}

/// Nothing of this configuration is for a data plane, none was asked for, and none was left by an earlier process.
pub(super) fn needs_none(desired: &Desired, host: &Host) -> bool {
    let any_will_do = matches!(host.data_plane, PlaneChoice::Auto | PlaneChoice::Userspace);
    desired.services.is_empty() && !desired.listeners.is_empty() && any_will_do && !host.pin_dir.exists()
}

impl Later {
    pub(super) fn new(host: Host) -> Self {
        Self { host, engine: OnceCell::new(), waiting: PlaneState::default() }
    }

    fn started(&self) -> Result<&Engine, PlaneError> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let started = lb_dataplane::start(&self.host)?;
        tracing::info!("data plane {}: {}", started.plane.kind().as_str(), started.reason);
        started.notes.iter().for_each(|note| tracing::warn!("{note}"));
        Ok(self.engine.get_or_init(|| Engine { plane: started.plane, reason: started.reason }))
    }

    fn plane(&self) -> Option<&dyn DataPlane> {
        self.engine.get().map(|e| &*e.plane)
    }
}

impl DataPlane for Later {
    fn kind(&self) -> PlaneKind {
        self.plane().map_or(PlaneKind::Userspace, DataPlane::kind)
    }

    fn told(&self) -> Option<String> {
        self.engine.get().map(|e| e.reason.clone())
    }

    fn interfaces(&self) -> Vec<InterfaceStatus> {
        self.plane().map(DataPlane::interfaces).unwrap_or_default()
    }

    fn supports(&self, service: &Service) -> Result<(), PlaneError> {
        self.started()?.plane.supports(service)
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), PlaneError> {
        let needed = changes.iter().any(|c| matches!(c, Change::PutService(_)));
        if self.engine.get().is_none() && !needed {
            changes.iter().for_each(|c| self.waiting.apply(c));
            return Ok(());
        }
        self.started()?;
        let waiting = PlaneState::default().diff(&self.waiting);
        if let Some(engine) = self.engine.get_mut() {
            engine.plane.apply(&waiting)?;
            self.waiting = PlaneState::default();
            engine.plane.apply(changes)?;
        }
        Ok(())
    }

    fn tick(&mut self, now: Instant) {
        if let Some(engine) = self.engine.get_mut() {
            engine.plane.tick(now);
        }
    }

    fn counters(&self) -> Counters {
        self.plane().map(DataPlane::counters).unwrap_or_default()
    }

    fn flows(&self, query: &FlowQuery) -> Vec<FlowRecord> {
        self.plane().map(|p| p.flows(query)).unwrap_or_default()
    }

    fn explain(&self, probe: &Probe) -> Explanation {
        use lb_common::reason::Reason;
        match self.plane() {
            Some(plane) => plane.explain(probe),
            None => Explanation {
                verdict: Reason::NotOurs.verdict(),
                reason: Reason::NotOurs,
                service: None,
                pool: None,
                slot: None,
                backend: None,
                next_hop: None,
                steps: vec![lb_dataplane::Step {
                    stage: "service",
                    decision: "pass".to_owned(),
                    why: "there is no [[service]]; of layer 7 'lb explain --request' tells".to_owned(),
                }],
            },
        }
    }

    fn release(self: Box<Self>, keep: bool) -> Result<String, PlaneError> {
        match self.engine.into_inner() {
            Some(engine) => engine.plane.release(keep),
            None => Ok("ended; there was no data plane".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_layer_7_needs_no_data_plane() {
        let dir = tempfile::tempdir().expect("a directory");
        let host = Host { pin_dir: dir.path().join("none"), ..Host::default() };
        let name: lb_model::Name = "edge".parse().expect("a name");
        let mut desired = Desired::default();
        assert!(!needs_none(&desired, &host), "as ever without layer 7");
        let listener = lb_model::http::Listener::new(name.clone(), ([127, 0, 0, 1], 80).into());
        desired.listeners.insert(name.clone(), listener);
        assert!(needs_none(&desired, &host));
        let left = Host { pin_dir: dir.path().to_owned(), ..Host::default() };
        assert!(!needs_none(&desired, &left), "an earlier process's must be looked after");
        let asked = Host { data_plane: PlaneChoice::Xdp, ..host.clone() };
        assert!(!needs_none(&desired, &asked), "what is asked for is taken at its word");
        desired
            .services
            .insert(name.clone(), Service::new(name.clone(), "192.0.2.1:80/tcp".parse().expect("a listen"), name));
        assert!(!needs_none(&desired, &host));
    }

    #[test]
    fn pools_wait_for_the_first_service() {
        let dir = tempfile::tempdir().expect("a directory");
        let host = Host {
            data_plane: PlaneChoice::Userspace,
            pin_dir: dir.path().join("none"),
            state_dir: dir.path().to_owned(),
            flow_table_size: 1000,
            ..Host::default()
        };
        let mut later = Later::new(host);
        let name: lb_model::Name = "web".parse().expect("a name");
        let pool = lb_dataplane::PlanePool {
            name: name.clone(),
            algorithm: lb_model::Algorithm::Random,
            maglev_table_size: 65_537,
            members: Vec::new(),
        };
        later.apply(&[Change::PutPool(pool)]).expect("a pool alone starts nothing");
        assert_eq!((later.told(), later.counters().flow_capacity), (None, 0));
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let service = Service::new(name.clone(), format!("{free}/tcp").parse().expect("a listen"), name);
        later.supports(&service).expect("supported");
        later.apply(&[Change::PutService(service)]).expect("its pool is there");
        assert!(later.told().is_some());
    }
}
