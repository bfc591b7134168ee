//! The owner of the truth: every event of the control plane ends here, and every change to the data plane starts here.
//! No task, no clock; [`crate::task`] drives it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lb_dataplane::{Change, Counters, DataPlane, PlaneError, PlaneKind, PlaneState};
use lb_health::{Monitor, Report, Target, Watch};
use lb_model::{BackendId, HostName, Observation};
use tracing::{info, warn};

use crate::controller::{ControllerOptions, Source};
use crate::drain::Event;
use crate::error::ControlError;
use crate::health::Health;
use crate::names::{Answer, Names};
use crate::state::{Now, StateDir};
use crate::totals::Totals;
use crate::truth::Truth;

/// Between two readings of draining backends' flows.
const READING: Duration = Duration::from_millis(250);
/// Between two savings of counters that end with the process, and of those that outlive it in the kernel.
const SAVING: Duration = Duration::from_secs(2);
const SAVING_KEPT: Duration = Duration::from_secs(30);
/// After a change that the data plane refused: this, doubled up to [`SLOWEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
const SLOWEST_RETRY: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) truth: Truth,
    pub(crate) health: Health,
    pub(crate) names: Names,
    pub(crate) totals: Totals,
    /// Taken when it is released.
    pub(crate) plane: Option<Box<dyn DataPlane>>,
    pub(crate) plane_reason: String,
    /// What the data plane is doing, as far as it has said.
    pub(crate) in_force: PlaneState,
    /// Changes that the data plane has refused: what, and why.
    pub(crate) failing: BTreeMap<String, String>,
    retry: Option<(Instant, Duration)>,
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
}

impl Core {
    /// Puts the desired state and what the state directory remembers in force.
    pub(crate) fn start(options: ControllerOptions, monitor: Monitor, now: Now) -> Result<Self, ControlError> {
        let ControllerOptions { desired, source, plane, plane_reason, mut notes } = options;
        let state = StateDir::new(desired.host.state_dir.clone());
        let (memory, said) = state.load(now);
        for note in &said {
            warn!("{note}");
        }
        notes.extend(said);
        let mut truth = Truth { desired, kept: memory.overrides, drains: memory.drains, ..Truth::default() };
        truth.settle();
        // The file may have changed while nobody ran: what is there again does not leave, and so on.
        let before = truth.clone();
        truth.part_with(&before, &Names::default(), now.instant);
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
            monitor,
        };
        let remembered = |host: &HostName| memory.names.get(host.as_str()).cloned().unwrap_or_default();
        let candidate = core.candidate(truth, remembered, now.instant);
        let target = candidate.plan();
        core.supports(&target)?;
        core.apply_all(&target)?;
        core.install(candidate);
        core.health.remember(BTreeMap::new());
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

    fn install(&mut self, candidate: Candidate) {
        self.truth = candidate.truth;
        self.health = candidate.health;
        self.names = candidate.names;
        self.monitor.watch(candidate.watch);
    }

    /// Puts a new truth in force, whole or not at all. Failures that were there before are no reason to refuse.
    pub(crate) fn adopt(&mut self, truth: Truth, now: Instant) -> Result<(), String> {
        let candidate = self.candidate(truth, |_| Vec::new(), now);
        let target = candidate.plan();
        let failures = self.carry_out(&target);
        let new: Vec<String> = failures
            .iter()
            .filter(|(what, _)| !self.failing.contains_key(*what))
            .map(|(what, why)| format!("{what}: {why}"))
            .collect();
        if !new.is_empty() {
            let old = self.truth.plan(&self.health, &self.names);
            let failures = self.carry_out(&old);
            self.note_failures(failures, now);
            return Err(new.join("; "));
        }
        self.note_failures(failures, now);
        self.install(candidate);
        Ok(())
    }

    /// Brings the data plane to what is wanted now, as far as it goes; what fails is tried again later.
    pub(crate) fn push(&mut self, now: Instant) {
        let target = self.truth.plan(&self.health, &self.names);
        let failures = self.carry_out(&target);
        self.note_failures(failures, now);
    }

    /// Says what is new among the failures, and when to try again.
    fn note_failures(&mut self, failures: BTreeMap<String, String>, now: Instant) {
        for (what, why) in &failures {
            if self.failing.get(what) != Some(why) {
                warn!(change = %what, "the data plane refused a change, which will be tried again: {why}");
            }
        }
        self.retry = match (failures.is_empty(), self.retry) {
            (true, _) => None,
            (false, None) => Some((now + FIRST_RETRY, FIRST_RETRY)),
            (false, Some((at, wait))) if now < at => Some((at, wait)),
            (false, Some((_, wait))) => {
                let wait = (wait * 2).min(SLOWEST_RETRY);
                Some((now + wait, wait))
            }
        };
        self.failing = failures;
    }

    /// Applies the difference; if the whole does not go, what does go, step by step. Says what failed.
    fn carry_out(&mut self, target: &PlaneState) -> BTreeMap<String, String> {
        let changes = self.in_force.diff(target);
        let mut failures = BTreeMap::new();
        let Some(plane) = self.plane.as_mut().filter(|_| !changes.is_empty()) else { return failures };
        if plane.apply(&changes).is_ok() {
            self.in_force = target.clone();
            return failures;
        }
        for change in changes {
            if let Some(what) = blocked(&change, &self.in_force) {
                failures.insert(what, "waits for another change that failed".to_owned());
                continue;
            }
            match plane.apply(std::slice::from_ref(&change)) {
                Ok(()) => self.in_force.apply(&change),
                Err(e) => drop(failures.insert(what(&change), e.to_string())),
            }
        }
        failures
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
            let kept = self.plane.as_ref().is_some_and(|p| p.kind() != PlaneKind::Userspace);
            self.next_saving = now.instant + if kept { SAVING_KEPT } else { SAVING };
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
    pub(crate) fn remember(&self, now: Now) {
        if let Err(e) = self.state.save(&self.truth.kept, &self.truth.drains, &self.names, now) {
            warn!("the state file cannot be written: {e}");
        }
    }

    /// A reading of all counters, with what former engines counted.
    pub(crate) fn counters(&mut self) -> Counters {
        let raw = self.plane.as_ref().map(|p| p.counters()).unwrap_or_default();
        self.totals.absorb(raw)
    }

    pub(crate) fn save_seen(&mut self, durable: bool) {
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
        for pool in self.in_force.pools.values() {
            let Some(desired) = self.truth.desired.pools.get(&pool.name) else { continue };
            for member in &pool.members {
                let target = crate::health::target(&self.truth.desired, desired, member.ip, member.port);
                let Some(observation) = target.and_then(|t| turned.get(&t)) else { continue };
                let (pool, backend) = (&pool.name, &member.configured);
                match observation {
                    Observation::Unhealthy(why) => warn!(%pool, %backend, "unhealthy: {why}"),
                    other => info!(%pool, %backend, "{}", other.as_str()),
                }
            }
        }
    }

    pub(crate) fn resolved(&mut self, host: &HostName, answer: Answer, now: Now) {
        if let Err(why) = &answer {
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

fn what(change: &Change) -> String {
    match change {
        Change::PutPool(p) => format!("pool '{}'", p.name),
        Change::PutService(s) => format!("service '{}'", s.name),
        Change::RemoveService(n) => format!("removal of service '{n}'"),
        Change::RemovePool(n) => format!("removal of pool '{n}'"),
    }
}

/// A change that must not be tried because an earlier one failed.
fn blocked(change: &Change, in_force: &PlaneState) -> Option<String> {
    let blocked = match change {
        Change::PutService(s) => !in_force.pools.contains_key(&s.pool),
        Change::RemovePool(n) => in_force.services.values().any(|s| s.pool == *n),
        Change::PutPool(_) | Change::RemoveService(_) => false,
    };
    blocked.then(|| what(change))
}
