//! Reloads and plans: a new file is read, checked and tried, and is in force whole or not at all.

use lb_config::{Diagnostic, Loaded};
use lb_model::{Desired, Host};
use tracing::{info, warn};

use crate::controller::Source;
use crate::core::Core;
use crate::error::ReloadError;
use crate::handle::{PlanReport, ReloadReport};
use crate::state::Now;
use crate::truth::Truth;
use crate::{difference, difference_http};

impl Core {
    pub(crate) fn reload(&mut self, now: Now) -> Result<ReloadReport, ReloadError> {
        // For those who rotate logs: whatever becomes of the file.
        if let Some(gateway) = &self.layer_7.gateway {
            gateway.reopen_log();
        }
        self.not_handing_over().map_err(|e| ReloadError::Refused(e.to_string()))?;
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
        let notes = self.restart_notes(&loaded.desired.host);
        let next = self.successor(loaded.desired, now);
        self.supports_services(&next).map_err(ReloadError::Refused)?;
        let candidate = self.candidate(next.clone(), |_| Vec::new(), now.instant);
        self.layer_7.check(&candidate.http_plan(), &next.desired.host)?;
        let before = (self.truth.clone(), self.truth.plan(&self.health, &self.names));
        let counters = self.counters();
        self.adopt(next, now.instant).map_err(ReloadError::Refused)?;
        self.remember(now);
        let after = self.truth.plan(&self.health, &self.names);
        let pools = difference::pools((&before.0, &self.truth), (&before.1, &after), &counters);
        let mut changes = difference::lines(&pools);
        let services = difference::services(&before.0, &self.truth, &counters);
        changes.extend(services.into_iter().map(|line| format!("service {line}")));
        changes.extend(difference_http::listeners(&before.0, &self.truth));
        let routes = difference_http::routes(&before.0, &self.truth);
        changes.extend(routes.into_iter().map(|line| format!("route {line}")));
        self.restart_notes.clone_from(&notes);
        Ok(ReloadReport { changes, warnings: loaded.warnings, notes })
    }

    /// The truth with another file under the changes by CLI. Of `[host]`, what lives as long as the process stays.
    fn successor(&self, mut desired: Desired, now: Now) -> Truth {
        let host = &desired.host;
        let (on_exit, shutdown_timeout) = (host.on_exit, host.shutdown_timeout);
        let mut kept = Host { on_exit, shutdown_timeout, ..self.truth.desired.host.clone() };
        if !self.layer_7.is_running() {
            // Nobody has opened the log yet.
            kept.access_log.clone_from(&host.access_log);
            kept.access_log_format = host.access_log_format;
            kept.access_log_sample = host.access_log_sample;
        }
        desired.host = kept;
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
        let mut notes = self.restart_notes(&loaded.desired.host);
        let next = self.successor(loaded.desired, now);
        if let Err(why) = self.supports_services(&next) {
            notes.push(format!("this data plane would refuse it: {why}"));
        }
        notes.extend(next.conflicts.iter().cloned());
        let counters = self.counters();
        let before = self.truth.plan(&self.health, &self.names);
        let next = self.candidate(next, |_| Vec::new(), now.instant);
        if let Err(errors) = self.layer_7.check(&next.http_plan(), &next.truth.desired.host) {
            notes.extend(errors.iter().map(|e| format!("it would be refused: {e}")));
        }
        let after = next.plan();
        let mut services = difference::services(&self.truth, &next.truth, &counters);
        services.extend(difference_http::listeners(&self.truth, &next.truth));
        Ok(PlanReport {
            pools: difference::pools((&self.truth, &next.truth), (&before, &after), &counters),
            services,
            routes: difference_http::routes(&self.truth, &next.truth),
            notes,
            warnings: loaded.warnings,
        })
    }

    /// Keys of `[host]` that the file has changed and that only a new process takes up.
    fn restart_notes(&self, new: &Host) -> Vec<String> {
        let mut notes = restart_notes(&self.truth.desired.host, new);
        if self.layer_7.is_running() {
            notes.extend(log_notes(&self.truth.desired.host, new));
        }
        notes
    }
}

fn or_nothing(changes: &[String]) -> String {
    if changes.is_empty() { "nothing has changed".to_owned() } else { changes.join("; ") }
}

fn note(keys: &[(&str, bool)]) -> Vec<String> {
    let changed = keys.iter().filter(|(_, differs)| *differs);
    changed.map(|(key, _)| format!("[host] {key} has changed in the file and needs a restart")).collect()
}

fn log_notes(old: &Host, new: &Host) -> Vec<String> {
    note(&[
        ("access_log", old.access_log != new.access_log),
        ("access_log_format", old.access_log_format != new.access_log_format),
        ("access_log_sample", old.access_log_sample != new.access_log_sample),
    ])
}

fn restart_notes(old: &Host, new: &Host) -> Vec<String> {
    note(&[
        ("interfaces", old.interfaces != new.interfaces),
        ("data_plane", old.data_plane != new.data_plane),
        ("state_dir", old.state_dir != new.state_dir),
        ("flow_table_size", old.flow_table_size != new.flow_table_size),
        ("socket", old.socket != new.socket),
        ("pin_dir", old.pin_dir != new.pin_dir),
        ("metrics", old.metrics != new.metrics),
        ("snat_addresses", old.snat_addresses != new.snat_addresses),
    ])
}
