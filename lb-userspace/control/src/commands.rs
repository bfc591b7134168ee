//! Commands about backends: what is typed is checked against what there is, tried, kept, and only then done.

use std::collections::BTreeSet;
use std::time::Duration;

use lb_model::{BackendAddress, BackendId, Name, Service, Weight};
use tracing::info;

use crate::core::Core;
use crate::drain::{Key, Why};
use crate::error::CommandError;
use crate::handle::BackendCommand;
use crate::state::Now;
use crate::truth::Truth;

impl Core {
    pub(crate) fn backend(
        &mut self,
        pool: &str,
        address: &str,
        command: &BackendCommand,
        now: Now,
    ) -> Result<(), CommandError> {
        self.not_handing_over()?;
        let pool = self.pool_name(pool, matches!(command, BackendCommand::Add { .. }))?;
        let parsed: BackendAddress =
            address.parse().map_err(|e: lb_model::pool::BadAddress| CommandError::Invalid(e.to_string()))?;
        let id = BackendId { pool, address: parsed };
        let mut next = self.truth.clone();
        match command {
            BackendCommand::Add { weight } => add(&mut next, &id, *weight)?,
            other => {
                self.known(&id, address)?;
                match *other {
                    BackendCommand::Set { weight } => set(&mut next, &id, weight)?,
                    BackendCommand::Drain { timeout } => drain(&mut next, &id, timeout, now)?,
                    BackendCommand::Undrain => undrain(&mut next, &id),
                    BackendCommand::Remove { .. } => remove(&mut next, &id),
                    BackendCommand::Add { .. } => {}
                }
            }
        }
        next.settle();
        if let Some(change) = next.kept.get(&id).filter(|c| c.added && next.overrides.get(&id).is_none()).cloned() {
            next.overrides.edit(&id, |c| *c = change);
            return Err(CommandError::Invalid(next.verdict().err().unwrap_or_default()));
        }
        next.part_with(&self.truth, &self.names, now.instant);
        if *command == (BackendCommand::Remove { force: true }) {
            next.drains.force_out(&Key::from(id.clone()), now.instant);
        }
        self.keep(next, now)?;
        info!(pool = %id.pool, backend = %id.address, "by command: {}", words(command));
        Ok(())
    }

    /// Writes the change down before it is in force: what was answered with "done" survives whatever comes next.
    fn keep(&mut self, next: Truth, now: Now) -> Result<(), CommandError> {
        let refused = |e: std::io::Error| CommandError::Refused(format!("the change cannot be kept: {e}"));
        self.state.save(&next.kept, &next.drains, &self.names, now).map_err(refused)?;
        let adopted = self.adopt(next, now.instant);
        self.remember(now);
        adopted.map_err(CommandError::Refused)
    }

    fn pool_name(&self, given: &str, only_desired: bool) -> Result<Name, CommandError> {
        let leaving = self.truth.drains.iter().map(|(k, _)| &k.backend.pool).filter(|_| !only_desired);
        let names: BTreeSet<&Name> = self.truth.desired.pools.keys().chain(leaving).collect();
        if let Some(name) = names.iter().find(|n| n.as_str() == given) {
            return Ok((*name).clone());
        }
        Err(unknown("pool", given, names.iter().map(|n| n.as_str())))
    }

    fn known(&self, id: &BackendId, given: &str) -> Result<(), CommandError> {
        let listed = |key: &Key| self.truth.drains.get(key).is_some_and(|d| !d.is_hidden());
        if self.truth.entry(id).is_some() || listed(&Key::from(id.clone())) {
            return Ok(());
        }
        let here = self.truth.overrides.entries(&self.truth.desired, &id.pool).unwrap_or_default();
        let here: Vec<String> = here.iter().map(|e| e.address.to_string()).collect();
        Err(unknown("backend", given, here.iter().map(String::as_str)))
    }

    pub(crate) fn service_name(&self, given: &str) -> Result<Name, CommandError> {
        let services = &self.truth.desired.services;
        match services.get_key_value(given) {
            Some((name, _)) => Ok(name.clone()),
            None => Err(unknown("service", given, services.keys().map(Name::as_str))),
        }
    }
}

pub(crate) fn unknown<'a>(kind: &'static str, given: &str, names: impl Iterator<Item = &'a str>) -> CommandError {
    let nearest = lb_config::nearest(given, names).map(str::to_owned);
    CommandError::Unknown { kind, given: given.to_owned(), nearest }
}

fn weight(given: u32) -> Result<Weight, CommandError> {
    Weight::new(given).ok_or_else(|| CommandError::Invalid(format!("weight {given} is not between 0 and 1000")))
}

fn add(next: &mut Truth, id: &BackendId, given: Option<u32>) -> Result<(), CommandError> {
    let given = given.map(weight).transpose()?;
    if next.entry(id).is_some() {
        return Err(CommandError::Invalid(format!(
            "pool '{}' has {} already; 'lb backend set' changes its weight",
            id.pool, id.address
        )));
    }
    match written_weight(next, id) {
        Some(written) => next.kept.edit(id, |c| {
            c.removed = false;
            c.weight = given.filter(|w| *w != written);
        }),
        None => next.kept.edit(id, |c| {
            c.added = true;
            c.weight = given;
        }),
    }
    Ok(())
}

fn set(next: &mut Truth, id: &BackendId, given: u32) -> Result<(), CommandError> {
    let given = weight(given)?;
    if next.entry(id).is_none() {
        return Err(leaving(id));
    }
    // What the file says already is no change.
    let written = written_weight(next, id);
    next.kept.edit(id, |c| c.weight = Some(given).filter(|w| Some(*w) != written));
    Ok(())
}

fn drain(next: &mut Truth, id: &BackendId, timeout: Option<Duration>, now: Now) -> Result<(), CommandError> {
    let key = Key::from(id.clone());
    if next.entry(id).is_none() {
        return Err(leaving(id));
    }
    next.kept.edit(id, |c| c.draining = true);
    // Asked again without a time-out, one under way keeps its deadline.
    if timeout.is_some() || next.drains.get(&key).is_none() {
        let own = next.drain_timeout(&id.pool).unwrap_or(Service::DEFAULT_DRAIN_TIMEOUT);
        let deadline = now.instant.checked_add(timeout.unwrap_or(own));
        let deadline = deadline.ok_or_else(|| CommandError::Invalid("the time-out is too long".to_owned()))?;
        next.drains.start(key, Why::Command, deadline);
    }
    Ok(())
}

/// Takes back a drain, or a removal that is not over yet; of a backend that does neither, nothing.
fn undrain(next: &mut Truth, id: &BackendId) {
    if next.entry(id).is_some() {
        next.kept.edit(id, |c| c.draining = false);
        return;
    }
    let drain = next.drains.get(&Key::from(id.clone())).map(|d| d.why.clone());
    let Some(Why::Leaving { remains, .. }) = drain else { return };
    match written_weight(next, id) {
        Some(written) => next.kept.edit(id, |c| {
            c.removed = false;
            c.weight = Some(remains.weight).filter(|w| *w != written);
        }),
        None => next.kept.edit(id, |c| {
            c.added = true;
            c.weight = Some(remains.weight);
        }),
    }
}

fn remove(next: &mut Truth, id: &BackendId) {
    next.kept.forget(id);
    if written_weight(next, id).is_some() {
        next.kept.edit(id, |c| c.removed = true);
    }
}

fn leaving(id: &BackendId) -> CommandError {
    CommandError::Refused(format!("{id} is being removed; 'lb backend undrain' takes that back"))
}

fn written_weight(truth: &Truth, id: &BackendId) -> Option<Weight> {
    let pool = truth.desired.pools.get(&id.pool)?;
    pool.backends().iter().find(|b| b.address == id.address).map(|b| b.weight)
}

fn words(command: &BackendCommand) -> String {
    match command {
        BackendCommand::Add { .. } => "added".to_owned(),
        BackendCommand::Set { weight } => format!("weight {weight}"),
        BackendCommand::Drain { .. } => "draining".to_owned(),
        BackendCommand::Undrain => "no longer draining".to_owned(),
        BackendCommand::Remove { force: false } => "drains, to be removed".to_owned(),
        BackendCommand::Remove { force: true } => "removed".to_owned(),
    }
}
