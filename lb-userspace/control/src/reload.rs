//! Reloads and plans: a new file is read, checked and tried, and is in force whole or not at all.

use lb_config::{Diagnostic, Loaded};
use lb_model::{Desired, Host};
use tracing::{info, warn};

use crate::controller::Source;
use crate::core::Core;
use crate::difference;
use crate::error::ReloadError;
use crate::handle::{PlanReport, ReloadReport};
use crate::state::Now;
use crate::truth::Truth;

impl Core {
    pub(crate) fn reload(&mut self, now: Now) -> Result<ReloadReport, ReloadError> {
        let result = match self.source.clone() {
            Source::File(path) => lb_config::load(&path).map_err(ReloadError::Invalid),
            Source::Flags => Err(ReloadError::Refused("started from flags: there is no file to read again".to_owned())),
        };
        let result = result.and_then(|loaded| self.put_in_force(loaded, now));
        match &result {
            Ok(report) => {
                self.last_reload_error = None;
                for warning in &report.warnings {
                    warn!("{warning}");
                }
                for note in report.notes.iter().chain(&self.truth.conflicts) {
                    warn!("{note}");
                }
                info!(changes = report.changes.len(), "reloaded: {}", or_nothing(&report.changes));
            }
            Err(error) => {
                warn!("the reload was refused, and the old configuration stays in force:\n{error}");
                self.last_reload_error = Some(error.to_string());
            }
        }
        result
    }

    fn put_in_force(&mut self, loaded: Loaded, now: Now) -> Result<ReloadReport, ReloadError> {
        let notes = restart_notes(&self.truth.desired.host, &loaded.desired.host);
        let next = self.successor(loaded.desired, now);
        self.supports_services(&next).map_err(ReloadError::Refused)?;
        let before = (self.truth.clone(), self.truth.plan(&self.health, &self.names));
        let counters = self.counters();
        self.adopt(next, now.instant).map_err(ReloadError::Refused)?;
        self.remember(now);
        let after = self.truth.plan(&self.health, &self.names);
        let pools = difference::pools((&before.0, &self.truth), (&before.1, &after), &counters);
        let mut changes = difference::lines(&pools);
        let services = difference::services(&before.0, &self.truth, &counters);
        changes.extend(services.into_iter().map(|line| format!("service {line}")));
        self.restart_notes.clone_from(&notes);
        Ok(ReloadReport { changes, warnings: loaded.warnings, notes })
    }

    /// The truth with another file under the changes by CLI. Of `[host]`, what lives as long as the process stays.
    fn successor(&self, mut desired: Desired, now: Now) -> Truth {
        let on_exit = desired.host.on_exit;
        desired.host = Host { on_exit, ..self.truth.desired.host.clone() };
        let mut next = Truth { desired, ..self.truth.clone() };
        next.settle();
        next.part_with(&self.truth, &self.names, now.instant);
        next.start_marked(now.instant);
        next
    }

    fn supports_services(&self, truth: &Truth) -> Result<(), String> {
        let Some(plane) = &self.plane else { return Ok(()) };
        let refusals = truth.desired.services.values().filter_map(|s| plane.supports(s).err());
        let refusals: Vec<String> = refusals.map(|e| e.to_string()).collect();
        if refusals.is_empty() { Ok(()) } else { Err(refusals.join("\n")) }
    }

    pub(crate) fn plan(&mut self, text: &str, path: &str, now: Now) -> Result<PlanReport, Vec<Diagnostic>> {
        let loaded = lb_config::parse(text, path)?;
        let mut notes = restart_notes(&self.truth.desired.host, &loaded.desired.host);
        let next = self.successor(loaded.desired, now);
        if let Err(why) = self.supports_services(&next) {
            notes.push(format!("this data plane would refuse it: {why}"));
        }
        notes.extend(next.conflicts.iter().cloned());
        let counters = self.counters();
        let before = self.truth.plan(&self.health, &self.names);
        let next = self.candidate(next, |_| Vec::new(), now.instant);
        let after = next.plan();
        Ok(PlanReport {
            pools: difference::pools((&self.truth, &next.truth), (&before, &after), &counters),
            services: difference::services(&self.truth, &next.truth, &counters),
            routes: Vec::new(),
            notes,
            warnings: loaded.warnings,
        })
    }
}

fn or_nothing(changes: &[String]) -> String {
    if changes.is_empty() { "nothing has changed".to_owned() } else { changes.join("; ") }
}

/// Keys of `[host]` that the file has changed and that only a new process takes up.
fn restart_notes(old: &Host, new: &Host) -> Vec<String> {
    let keys = [
        ("interfaces", old.interfaces != new.interfaces),
        ("data_plane", old.data_plane != new.data_plane),
        ("state_dir", old.state_dir != new.state_dir),
        ("flow_table_size", old.flow_table_size != new.flow_table_size),
        ("socket", old.socket != new.socket),
        ("pin_dir", old.pin_dir != new.pin_dir),
        ("metrics", old.metrics != new.metrics),
        ("snat_addresses", old.snat_addresses != new.snat_addresses),
    ];
    let changed = keys.iter().filter(|(_, differs)| *differs);
    changed.map(|(key, _)| format!("[host] {key} has changed in the file and needs a restart")).collect()
}
