//! One timer for a connection that is set forward often and fires seldom.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;

/// Moving the deadline later costs nothing: the timer finds out when it fires.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Ready once `deadline` has passed. `sooner`: a deadline that may be asked for next; waking up then spares a reset.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant, sooner: Instant) -> Poll<()> {
        let at = tokio::time::Instant::from_std(deadline);
        let first = at.min(tokio::time::Instant::from_std(sooner));
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(first)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
        Poll::Pending
    }
}
