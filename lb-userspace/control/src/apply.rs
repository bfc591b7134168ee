//! Bringing the data plane to what is wanted: a new truth whole or not at all, everything else as far as it goes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lb_dataplane::{Change, PlaneState};
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
