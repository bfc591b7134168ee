//! Bringing the data plane to what is wanted: a new truth whole or not at all, everything else as far as it goes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lb_dataplane::{Change, PlaneState};
use lb_gateway::HttpPlan;
use tracing::warn;

use crate::core::Core;
use crate::truth::Truth;

/// After a change that the data plane refused: this, doubled up to [`SLOWEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
const SLOWEST_RETRY: Duration = Duration::from_secs(30);

impl Core {
    /// Puts a new truth in force, whole or not at all. Failures that were there before are no reason to refuse.
    pub(crate) fn adopt(&mut self, truth: Truth, now: Instant) -> Result<(), String> {
        let candidate = self.candidate(truth, |_| Vec::new(), now);
        let failures = self.carry_out_both(&candidate.plan(), candidate.http_plan());
        let new: Vec<String> = failures
            .iter()
            .filter(|(what, _)| !self.failing.contains_key(*what))
            .map(|(what, why)| format!("{what}: {why}"))
            .collect();
        if !new.is_empty() {
            let (old, http) = self.wanted();
            let failures = self.carry_out_both(&old, http);
            self.note_failures(failures, now);
            return Err(new.join("; "));
        }
        self.note_failures(failures, now);
        self.install(candidate);
        Ok(())
    }

    /// Brings the data plane to what is wanted now, as far as it goes; what fails is tried again later.
    pub(crate) fn push(&mut self, now: Instant) {
        let (target, http) = self.wanted();
        let failures = self.carry_out_both(&target, http);
        self.note_failures(failures, now);
    }

    /// What both layers should be doing now.
    fn wanted(&self) -> (PlaneState, HttpPlan) {
        (self.truth.plan(&self.health, &self.names), self.truth.http_plan(&self.health, &self.names))
    }

    /// Both layers. An address that goes from one to the other is given up there before it is taken here.
    fn carry_out_both(&mut self, target: &PlaneState, http: HttpPlan) -> BTreeMap<String, String> {
        let gives_up = self.layer_7.in_force.listeners.iter().any(|(n, l)| http.listeners.get(n) != Some(l));
        let takes = self.in_force.services != target.services;
        if gives_up && takes {
            let failed = self.carry_out_http(http);
            let mut failures = self.carry_out(target);
            failures.extend(failed);
            return failures;
        }
        let mut failures = self.carry_out(target);
        failures.extend(self.carry_out_http(http));
        failures
    }

    fn carry_out_http(&mut self, http: HttpPlan) -> Option<(String, String)> {
        let host = self.truth.desired.host.clone();
        self.layer_7.apply(http, &host).err().map(|e| ("layer 7".to_owned(), e.to_string()))
    }

    /// Says what is new among the failures, and when to try again.
    fn note_failures(&mut self, failures: BTreeMap<String, String>, now: Instant) {
        for (what, why) in &failures {
            if self.failing.get(what) != Some(why) {
                warn!(change = %what, "a change was refused, which will be tried again: {why}");
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
