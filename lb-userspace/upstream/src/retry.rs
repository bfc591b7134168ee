//! Whether a request may be tried again, and after which failures (RFC 9110 §9.2.2).

use lb_model::http::Refusal;

use crate::answer::Failure;
use crate::clock;
use crate::exchange::{Broken, Run};

impl Run<'_> {
    /// Decides over another try.
    pub(crate) fn after(&mut self, broken: Broken, backend: u32) -> Result<(), Failure> {
        match broken {
            Broken::Final(refusal, detail) => Err(self.failure(refusal, detail)),
            Broken::Unsent(head) => {
                // Bounded: the next connection is new, and a new one that is closed at once counts as a try.
                let counted = self.fresh;
                self.head = Some(*head);
                self.fresh = true;
                if counted && !self.may_retry() {
                    return Err(self.failure(Refusal::BackendClosed, "the service closed the connection"));
                }
                Ok(())
            }
            Broken::Never(error) => {
                self.tried.push(backend);
                if self.has_other() && self.may_retry() {
                    return Ok(());
                }
                Err(self.failure(error.refusal(), error.detail()))
            }
            Broken::Unprocessed => {
                let whole = self.upload.as_ref().is_none_or(|u| u.is_replayable());
                if whole && self.may_retry() {
                    return Ok(());
                }
                Err(self.failure(Refusal::BackendClosed, "the service refused the request"))
            }
            Broken::Closed { stale } => {
                let again = self.idempotent && self.upload.as_ref().is_none_or(|u| u.is_replayable());
                if again && stale {
                    self.fresh = true;
                    self.stale_before = true;
                    return Ok(());
                }
                if again && self.may_retry() {
                    self.tried.push(backend);
                    self.fresh = true;
                    return Ok(());
                }
                Err(self.failure(Refusal::BackendClosed, "the service closed the connection without an answer"))
            }
        }
    }

    /// Somebody who was not tried takes requests.
    fn has_other(&self) -> bool {
        let now = clock::now();
        let current = self.pool.current(now, clock::ticks(now));
        current.members.iter().any(|m| m.takes && !self.tried.contains(&m.backend.id))
    }

    fn may_retry(&mut self) -> bool {
        let granted = self.retries < self.want.retry.attempts && self.want.budget.try_retry(clock::now());
        self.retries += u32::from(granted);
        granted
    }

    /// The status is one that the route tries again.
    pub(crate) fn again_for(&mut self, status: u16) -> bool {
        self.idempotent
            && self.want.retry.on.iter().any(|range| range.contains(status))
            && self.upload.as_ref().is_none_or(|u| u.is_replayable())
            && self.may_retry()
    }
}
