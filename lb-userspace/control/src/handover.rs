//! Giving everything to a process that takes over: what is remembered goes to disk, sockets go over, and nothing is
//! written from then on; or all is taken back.

use std::time::Duration;

use lb_dataplane::{Change, PlaneKind, PlaneState};
use lb_gateway::Inherited;
use tracing::{info, warn};

use crate::core::Core;
use crate::error::CommandError;
use crate::handle::{Handle, Request, refused};
use crate::state::Now;

/// How often the end of the flows of a userspace data plane is looked for.
const LOOK: Duration = Duration::from_millis(50);

impl Handle {
    /// Begins to hand over: the state is on disk, changes are refused from now on, and an XDP data plane goes on by
    /// itself. Duplicates of layer 7's listening sockets come back; both processes may accept from them.
    ///
    /// # Errors
    /// [`CommandError::Refused`] if it is being done already, or something cannot be handed over.
    pub async fn hand_over(&self) -> Result<Vec<Inherited>, CommandError> {
        self.ask(Request::HandOver).await.unwrap_or_else(refused)
    }

    /// The other process has failed: goes on as before.
    pub async fn take_back(&self) {
        let _ = self.ask(Request::TakeBack).await;
    }

    /// The other process serves: accepts no more, lets what is open end, at most `[host] shutdown_timeout` long, and
    /// ends the control plane without touching what the other holds. Says what was cut off.
    pub async fn retire(&self) -> String {
        self.ask(Request::Retire).await.unwrap_or_else(|| "the control plane has ended".to_owned())
    }
}

impl Core {
    pub(crate) fn hand_over(&mut self, now: Now) -> Result<Vec<Inherited>, CommandError> {
        self.not_handing_over()?;
        let gateway = self.layer_7.gateway.as_ref();
        let sockets = gateway.map_or(Ok(Vec::new()), lb_gateway::Gateway::sockets);
        let sockets = sockets.map_err(|e| CommandError::Refused(format!("sockets cannot be duplicated: {e}")))?;
        self.counters();
        self.save_seen(true);
        self.remember(now);
        self.handing_over = true;
        if self.plane.as_ref().is_some_and(|p| p.kind() != PlaneKind::Userspace)
            && let Some(plane) = self.plane.take()
        {
            match plane.release(true) {
                Ok(line) => info!("for the process that takes over: {line}"),
                Err(e) => warn!("the data plane was not let go cleanly: {e}"),
            }
        }
        info!(sockets = sockets.len(), "another lb takes over");
        Ok(sockets)
    }

    /// # Errors
    /// [`CommandError::Refused`] while another process takes over: it would not hear of a change.
    pub(crate) fn not_handing_over(&self) -> Result<(), CommandError> {
        if self.handing_over {
            return Err(CommandError::Refused("another lb is taking over; ask it in a moment".to_owned()));
        }
        Ok(())
    }

    pub(crate) fn take_back(&mut self, now: Now) {
        if !self.handing_over {
            return;
        }
        self.handing_over = false;
        if self.plane.is_none() {
            match lb_dataplane::start(&self.host_in_force) {
                Ok(started) => {
                    self.plane = Some(started.plane);
                    self.in_force = PlaneState::default();
                }
                Err(e) => {
                    let note = format!("the data plane forwards, but cannot be taken back and changed: {e}");
                    warn!("{note}");
                    self.notes.push(note);
                }
            }
        }
        self.push(now.instant);
        warn!("the other lb did not take over; this one goes on");
    }

    /// Lets what is open end. `clock` tells the time as it passes.
    pub(crate) fn retire(&mut self, clock: impl Fn() -> Now) -> String {
        let within = self.truth.desired.host.shutdown_timeout;
        let deadline = clock().instant + within;
        // What the userspace engine listens on is the other's now; its flows go on.
        if let Some(plane) = &mut self.plane {
            let removals: Vec<Change> = self.in_force.services.keys().cloned().map(Change::RemoveService).collect();
            if let Err(e) = plane.apply(&removals) {
                warn!("the data plane did not let its services go: {e}");
            }
        }
        let requests = self.stop_layer_7();
        let mut flows = 0;
        if let Some(mut plane) = self.plane.take() {
            loop {
                let now = clock().instant;
                plane.tick(now);
                flows = plane.counters().flows;
                if flows == 0 || now >= deadline {
                    break;
                }
                std::thread::park_timeout(LOOK);
            }
            if let Err(e) = plane.release(true) {
                warn!("the data plane was not let go cleanly: {e}");
            }
        }
        format!("another lb has taken over ('lb detach' ends that one){}", cut_off(requests, flows))
    }

    /// Ends layer 7 within `[host] shutdown_timeout`; how many requests were cut off.
    pub(crate) fn stop_layer_7(&mut self) -> u64 {
        let within = self.truth.desired.host.shutdown_timeout;
        self.layer_7.gateway.take().map_or(0, |gateway| gateway.stop(within))
    }
}

/// What an end has cost, for its last line.
pub(crate) fn cut_off(requests: u64, flows: u64) -> String {
    let words = |n: u64, what: &str| match n {
        0 => None,
        1 => Some(format!("1 {what}")),
        n => Some(format!("{n} {what}s")),
    };
    let lost: Vec<String> = [words(requests, "request"), words(flows, "flow")].into_iter().flatten().collect();
    if lost.is_empty() { String::new() } else { format!("; cut off: {}", lost.join(" and ")) }
}
