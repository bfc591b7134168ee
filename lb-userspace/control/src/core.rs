//! The owner of the truth: every event of the control plane ends here, and every change to the data plane starts here.
//! No task, no clock; [`crate::task`] drives it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lb_dataplane::{Counters, DataPlane, PlaneError, PlaneKind, PlaneState};
use lb_gateway::{HttpCounters, HttpPlan};
use lb_health::{Monitor, Report, Target, Watch};
use lb_model::{BackendId, Host, HostName, Observation};
use tracing::{info, warn};

use crate::controller::{ControllerOptions, Source};
use crate::drain::Event;
use crate::error::ControlError;
use crate::former::Former;
use crate::health::Health;
use crate::layer7::Layer7;
use crate::names::{Answer, Names};
use crate::state::{Now, StateDir};
use crate::totals::Totals;
use crate::truth::Truth;

/// Between two readings of draining backends' flows.
const READING: Duration = Duration::from_millis(250);
/// Between two savings of counters that end with the process, and of those that outlive it in the kernel.
const SAVING: Duration = Duration::from_secs(2);
const SAVING_KEPT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) truth: Truth,
    pub(crate) health: Health,
    pub(crate) names: Names,
    pub(crate) totals: Totals,
    /// Taken when it is released.
    pub(crate) plane: Option<Box<dyn DataPlane>>,
    pub(crate) plane_reason: String,
    pub(crate) layer_7: Layer7,
    /// What the data plane was started with.
    pub(crate) host_in_force: Host,
    /// Another process takes over: it has read the state, which is not to be written any more.
    pub(crate) handing_over: bool,
    /// What the data plane is doing, as far as it has said.
    pub(crate) in_force: PlaneState,
    /// Changes that the data plane has refused: what, and why.
    pub(crate) failing: BTreeMap<String, String>,
    pub(crate) retry: Option<(Instant, Duration)>,
    pub(crate) state: StateDir,
    pub(crate) source: Source,
    pub(crate) notes: Vec<String>,
    /// Keys that the file has changed and that need a restart.
    pub(crate) restart_notes: Vec<String>,
    pub(crate) last_reload_error: Option<String>,
    pub(crate) started: Instant,
    next_reading: Instant,
    next_saving: Instant,
    saved: (Totals, BTreeMap<SocketAddr, String>),
    saved_former: Former,
    monitor: Monitor,
}

/// A truth with what follows from it, not yet in force.
pub(crate) struct Candidate {
    pub(crate) truth: Truth,
    health: Health,
    names: Names,
    watch: Vec<Watch>,
}

impl Candidate {
    pub(crate) fn plan(&self) -> PlaneState {
        self.truth.plan(&self.health, &self.names)
    }
    pub(crate) fn http_plan(&self) -> HttpPlan {
        self.truth.http_plan(&self.health, &self.names)
    }
}

impl Core {
    /// Puts the desired state and what the state directory remembers in force.
    pub(crate) fn start(options: ControllerOptions, monitor: Monitor, now: Now) -> Result<Self, ControlError> {
        let ControllerOptions { desired, source, plane, plane_reason, mut notes, http, host_in_force } = options;
        let state = StateDir::new(desired.host.state_dir.clone());
        let (mut memory, said) = state.load(now);
        memory.totals.begin();
        for note in &said {
            warn!("{note}");
        }
        notes.extend(said);
        let mut truth = Truth { desired, kept: memory.overrides, drains: memory.drains, ..Truth::default() };
        truth.settle();
        // The file may have changed while nobody ran: what is there again does not leave, and so on.
        let before = truth.clone();
        truth.part_with(&before, &Names::default(), now.instant);
        truth.part_with_former(&memory.former, now.instant);
        truth.start_marked(now.instant);
        let mut health = Health::default();
        health.remember(memory.down.clone());
        let mut core = Self {
            truth: Truth::default(),
            health,
            names: Names::default(),
            totals: memory.totals.clone(),
            plane: Some(plane),
            plane_reason,
            layer_7: Layer7::new(http),
            host_in_force,
            handing_over: false,
            in_force: PlaneState::default(),
            failing: BTreeMap::new(),
            retry: None,
            state,
            source,
            notes,
            restart_notes: Vec::new(),
            last_reload_error: None,
            started: now.instant,
            next_reading: now.instant,
            next_saving: now.instant + SAVING,
            saved: (memory.totals, memory.down),
            saved_former: memory.former,
            monitor,
        };
        let remembered = |host: &HostName| memory.names.get(host.as_str()).cloned().unwrap_or_default();
        let candidate = core.candidate(truth, remembered, now.instant);
        let target = candidate.plan();
        core.supports(&target)?;
        let (http, host) = (candidate.http_plan(), candidate.truth.desired.host.clone());
        core.layer_7.check(&http, &host)?;
        core.layer_7.apply(http, &host).map_err(|e| vec![e])?;
        core.apply_all(&target)?;
        core.install(candidate);
        core.health.remember(BTreeMap::new());
        core.remember(now);
        for conflict in &core.truth.conflicts {
            warn!("{conflict}");
        }
        Ok(core)
    }

    pub(crate) fn supports(&self, state: &PlaneState) -> Result<(), PlaneError> {
        let Some(plane) = &self.plane else { return Ok(()) };
        state.services.values().try_for_each(|s| plane.supports(s))
    }

    /// Everything or an error; for the start, which has nothing to go back to.
    fn apply_all(&mut self, target: &PlaneState) -> Result<(), PlaneError> {
        let changes = self.in_force.diff(target);
        if let Some(plane) = &mut self.plane {
            plane.apply(&changes)?;
        }
        self.in_force = target.clone();
        Ok(())
    }

    pub(crate) fn candidate(
        &self,
        truth: Truth,
        remembered: impl Fn(&HostName) -> Vec<IpAddr>,
        now: Instant,
    ) -> Candidate {
        let mut names = self.names.clone();
        names.set(truth.hosts(), remembered, now);
        let mut health = self.health.clone();
        let watch = health.watch(truth.targets(&names));
        Candidate { truth, health, names, watch }
    }

    pub(crate) fn install(&mut self, candidate: Candidate) {
        self.truth = candidate.truth;
        self.health = candidate.health;
        self.names = candidate.names;
        self.monitor.watch(candidate.watch);
    }

    /// The regular beat, about ten times a second. Names to ask for come back.
    pub(crate) fn beat(&mut self, now: Now) -> Vec<HostName> {
        if let Some(plane) = &mut self.plane {
            plane.tick(now.instant);
        }
        if now.instant >= self.next_reading && self.truth.drains.are_under_way() {
            self.next_reading = now.instant + READING;
            self.advance_drains(now);
        }
        if self.retry.is_some_and(|(at, _)| now.instant >= at) {
            self.push(now.instant);
        }
        if now.instant >= self.next_saving {
            self.next_saving = now.instant + if self.counts_end_with_us() { SAVING } else { SAVING_KEPT };
            self.counters();
            self.save_seen(false);
        }
        self.names.due(now.instant)
    }

    fn advance_drains(&mut self, now: Now) {
        let counters = self.counters();
        let active = |id: &BackendId| counters.backends.get(id).map_or(0, |c| c.active_flows);
        let events = self.truth.drains.advance(active, now.instant);
        if events.is_empty() {
            return;
        }
        for event in events {
            let (Event::Expired(key) | Event::Drained(key) | Event::Gone(key)) = &event;
            let (pool, backend, flows) = (&key.backend.pool, &key.backend.address, active(&key.backend));
            match (&event, key.stale) {
                (_, Some(ip)) => info!(%pool, %backend, %ip, "an address that it no longer resolves to is let go"),
                (Event::Expired(_), None) => {
                    warn!(%pool, %backend, flows, "the drain's deadline has passed; flows left are ended");
                }
                (Event::Drained(_), None) => info!(%pool, %backend, "drained"),
                (Event::Gone(_), None) => info!(%pool, %backend, "drained, and gone from the pool"),
            }
        }
        self.push(now.instant);
        self.remember(now);
    }

    /// Saves changes and drains; a failure is said, as nothing waits for it.
    pub(crate) fn remember(&mut self, now: Now) {
        if self.handing_over {
            return;
        }
        let former = Former::of(&self.in_force);
        let mut saved = self.state.save(&self.truth.kept, &self.truth.drains, &self.names, now);
        if saved.is_ok() && former != self.saved_former {
            saved = self.state.save_former(&former);
            self.saved_former = former;
        }
        if let Err(e) = saved {
            warn!("the state directory cannot be written: {e}");
        }
    }

    /// A reading of all counters, with what former engines counted.
    pub(crate) fn counters(&mut self) -> Counters {
        let http = self.layer_7.counters();
        self.counters_with(&http)
    }

    pub(crate) fn counters_with(&mut self, http: &HttpCounters) -> Counters {
        let raw = self.plane.as_ref().map(|p| p.counters()).unwrap_or_default();
        let mut counters = self.totals.absorb(raw);
        self.totals.absorb_http(&mut counters, http);
        counters
    }

    /// Something here counts that does not outlive the process.
    pub(crate) fn counts_end_with_us(&self) -> bool {
        let kernel = self.plane.as_ref().is_some_and(|p| p.kind() != PlaneKind::Userspace);
        !kernel || self.layer_7.is_running()
    }

    pub(crate) fn save_seen(&mut self, durable: bool) {
        if self.handing_over {
            return;
        }
        let services = &self.truth.desired.services;
        let mut backends: HashSet<String> = self.truth.all().keys().map(ToString::to_string).collect();
        backends.extend(self.truth.drains.iter().map(|(k, _)| k.backend.to_string()));
        self.totals.retain(|s| services.contains_key(s), |b| backends.contains(b));
        let seen = (self.totals.clone(), self.health.down());
        // A failure is said by `remember` too, and not every two seconds.
        if seen != self.saved && self.state.save_seen(&seen.0, seen.1.clone(), durable).is_ok() {
            self.saved = seen;
        }
    }

    /// Takes reports, as many as have come: the data plane hears of all of them at once.
    pub(crate) fn observed(&mut self, reports: Vec<Report>, now: Instant) {
        let mut turned: HashMap<Target, Observation> = HashMap::new();
        for report in reports {
            let before = self.health.of(Some(&report.target));
            let news = self.health.record(&report.target, report.observation.clone());
            if news && before.as_str() != report.observation.as_str() {
                turned.insert(report.target, report.observation);
            }
        }
        if !turned.is_empty() {
            self.log_health(&turned);
            self.push(now);
            self.save_seen(false);
        }
    }

    fn log_health(&self, turned: &HashMap<Target, Observation>) {
        for (pool, entries) in self.truth.pools() {
            let Some(desired) = self.truth.desired.pools.get(pool) else { continue };
            for (entry, ip) in entries
                .iter()
                .flat_map(|e| self.truth.addresses(pool, e, &self.names).into_iter().map(move |ip| (e, ip)))
            {
                let target = crate::health::target(&self.truth.desired, desired, ip, entry.address.port());
                let Some(observation) = target.and_then(|t| turned.get(&t)) else { continue };
                let backend = &entry.address;
                match observation {
                    Observation::Unhealthy(why) => warn!(%pool, %backend, "unhealthy: {why}"),
                    other => info!(%pool, %backend, "{}", other.as_str()),
                }
            }
        }
    }

    pub(crate) fn resolved(&mut self, host: &HostName, answer: Answer, now: Now) {
        if let Err(why) = &answer
            && self.names.error(host) != Some(why)
        {
            warn!(host = host.as_str(), "does not resolve: {why}");
        }
        let before = self.names.addresses(host).to_vec();
        if !self.names.answered(host, answer, now.instant) {
            return;
        }
        let after = self.names.addresses(host).to_vec();
        info!(host = host.as_str(), ?before, ?after, "resolves to other addresses");
        self.truth.readdress(host, &before, &after, now.instant);
        let watch = self.health.watch(self.truth.targets(&self.names));
        self.monitor.watch(watch);
        self.push(now.instant);
        self.remember(now);
    }

    /// Lets the data plane go. Says what goes on.
    pub(crate) fn release(&mut self, keep: bool, now: Now) -> Result<String, PlaneError> {
        self.counters();
        self.save_seen(true);
        self.remember(now);
        match self.plane.take() {
            Some(plane) => plane.release(keep),
            None => Ok("the data plane was let go before".to_owned()),
        }
    }
}
