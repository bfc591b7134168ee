//! A data plane that carries nothing: it records what it is told, refuses what a test wants refused, and shows the
//! counters that a test sets. With it, the pieces every test of the control plane needs.
#![allow(dead_code, unreachable_pub, reason = "not every suite uses every piece")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use lb_common::reason::Reason;
use lb_control::names::Answer;
use lb_control::resolver::Resolve;
use lb_control::{Controller, ControllerOptions, Handle, Source, View};
use lb_dataplane::{
    BackendCounters, Change, Counters, DataPlane, Explanation, FlowQuery, FlowRecord, InterfaceStatus, Member,
    PlaneError, PlaneKind, PlaneState, Probe,
};
use lb_model::{BackendId, HostName};

#[derive(Debug, Default)]
pub struct Inside {
    pub state: PlaneState,
    /// Changes in the order they came.
    pub applied: Vec<Change>,
    pub counters: Counters,
    /// Pools and services by these names are refused.
    pub refused: Vec<String>,
    pub unsupported: Vec<String>,
    /// `keep`, once let go.
    pub released: Option<bool>,
}

#[derive(Clone, Debug, Default)]
pub struct MockPlane(Arc<Mutex<Inside>>);

impl MockPlane {
    pub fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().expect("no test panics while it holds this")
    }
    pub fn member(&self, pool: &str, address: &str) -> Option<Member> {
        let inside = self.inside();
        let pool = inside.state.pools.get(pool)?;
        pool.members.iter().find(|m| m.configured.to_string() == address).cloned()
    }
    pub fn members(&self, pool: &str) -> Vec<String> {
        let inside = self.inside();
        let of = |p: &lb_dataplane::PlanePool| p.members.iter().map(|m| m.ip.to_string()).collect();
        inside.state.pools.get(pool).map(of).unwrap_or_default()
    }
    pub fn set_flows(&self, pool: &str, address: &str, active_flows: u64) {
        let counters = BackendCounters { active_flows, flows_total: active_flows, packets: 10, bytes: 1000 };
        self.inside().counters.backends.insert(id(pool, address), counters);
    }
}

pub fn id(pool: &str, address: &str) -> BackendId {
    BackendId { pool: pool.parse().expect("a name"), address: address.parse().expect("an address") }
}

fn name_of(change: &Change) -> &str {
    match change {
        Change::PutPool(p) => p.name.as_str(),
        Change::PutService(s) => s.name.as_str(),
        Change::RemoveService(n) | Change::RemovePool(n) => n.as_str(),
    }
}

impl DataPlane for MockPlane {
    fn kind(&self) -> PlaneKind {
        PlaneKind::Userspace
    }
    fn interfaces(&self) -> Vec<InterfaceStatus> {
        Vec::new()
    }
    fn supports(&self, service: &lb_model::Service) -> Result<(), PlaneError> {
        if self.inside().unsupported.iter().any(|n| n == service.name.as_str()) {
            return Err(PlaneError::Unsupported { service: service.name.clone(), what: "the mock cannot".into() });
        }
        Ok(())
    }
    fn apply(&mut self, changes: &[Change]) -> Result<(), PlaneError> {
        let mut inside = self.inside();
        for change in changes {
            if inside.refused.iter().any(|n| n == name_of(change)) {
                return Err(PlaneError::Limit(format!("the mock refuses {}", name_of(change))));
            }
            if let Change::PutService(s) = change {
                assert!(inside.state.pools.contains_key(&s.pool), "service {} without its pool", s.name);
            }
            if let Change::RemovePool(n) = change {
                assert!(inside.state.services.values().all(|s| s.pool != *n), "pool {n} is still in use");
            }
            inside.state.apply(change);
            inside.applied.push(change.clone());
        }
        Ok(())
    }
    fn tick(&mut self, _now: Instant) {}
    fn counters(&self) -> Counters {
        self.inside().counters.clone()
    }
    fn flows(&self, _query: &FlowQuery) -> Vec<FlowRecord> {
        Vec::new()
    }
    fn explain(&self, _probe: &Probe) -> Explanation {
        Explanation {
            verdict: Reason::NotOurs.verdict(),
            reason: Reason::NotOurs,
            service: None,
            pool: None,
            slot: None,
            backend: None,
            next_hop: None,
            steps: Vec::new(),
        }
    }
    fn release(self: Box<Self>, keep: bool) -> Result<String, PlaneError> {
        self.inside().released = Some(keep);
        Ok(format!("released, keep {keep}"))
    }
}

/// Answers that a test sets.
#[derive(Clone, Debug, Default)]
pub struct MockResolver(pub Arc<Mutex<BTreeMap<String, Vec<IpAddr>>>>);

impl MockResolver {
    pub fn say(&self, name: &str, ips: &[&str]) {
        let ips = ips.iter().map(|s| s.parse().expect("an address")).collect();
        self.0.lock().expect("no panic").insert(name.to_owned(), ips);
    }
    pub fn forget(&self, name: &str) {
        self.0.lock().expect("no panic").remove(name);
    }
}

impl Resolve for MockResolver {
    fn resolve(&self, name: HostName) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let found = self.0.lock().expect("no panic").get(name.as_str()).cloned();
        Box::pin(async move { found.map(|ips| (ips, Duration::from_secs(2))).ok_or_else(|| "NXDOMAIN".to_owned()) })
    }
}

/// A directory with a configuration file and state.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub plane: MockPlane,
    pub resolver: MockResolver,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { dir, plane: MockPlane::default(), resolver: MockResolver::default() }
    }
    pub fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("lb.toml")
    }
    /// Writes the file; `[host]` is put before it.
    pub fn write(&self, text: &str) {
        std::fs::write(self.file(), whole(self.dir.path(), text)).expect("written");
    }
    /// Starts a controller on the file with a fresh engine, whose inside is `self.plane`.
    pub fn start(&mut self) -> (Handle, tokio::task::JoinHandle<()>) {
        self.plane = MockPlane::default();
        self.start_on_same_plane().expect("it starts")
    }
    pub fn start_on_same_plane(&self) -> Result<(Handle, tokio::task::JoinHandle<()>), lb_control::ControlError> {
        let loaded = lb_config::load(&self.file()).expect("a good file");
        let options = ControllerOptions {
            desired: loaded.desired,
            source: Source::File(self.file()),
            plane: Box::new(self.plane.clone()),
            plane_reason: "a test".into(),
            notes: Vec::new(),
            http: lb_control::HttpOptions::default(),
            host_in_force: lb_model::Host::default(),
        };
        Controller::start_with(options, Arc::new(self.resolver.clone()))
    }
}

pub fn whole(dir: &Path, text: &str) -> String {
    format!("[host]\ndata_plane = \"userspace\"\nstate_dir = \"{}\"\n{text}", dir.join("state").display())
}

/// Waits, in steps of 20 ms and at most a minute, until the view is as wanted.
pub async fn until(handle: &Handle, what: &str, wanted: impl Fn(&View) -> bool) -> Arc<View> {
    for _ in 0..3000 {
        let view = handle.view().await;
        if wanted(&view) {
            return view;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}; last seen {:#?}", handle.view().await);
}

pub const TWO: &str = r#"
[[pool]]
name = "web"
backends = [{ address = "10.0.0.1:80" }, { address = "10.0.0.2:80", weight = 2 }]
[[service]]
name = "web"
listen = "127.0.0.1:8080/tcp"
pool = "web"
drain_timeout = "5s"
[[service]]
name = "web-2"
listen = "127.0.0.1:8081/tcp"
pool = "web"
drain_timeout = "20s"
"#;
