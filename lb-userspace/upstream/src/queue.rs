//! Requests that wait for a place at any backend of a pool: first come, first served, over all workers.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed, Ordering::SeqCst};

use tokio::sync::Notify;

/// A pool's waiting requests, and whether what is published for it must be looked at again.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    waiting: AtomicU32,
    /// Notifies in the order in which waiters came.
    free: Notify,
    stale: AtomicBool,
}

/// A place in the queue, given up when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a>(&'a Waiting);

impl Waiting {
    /// Somebody waits: who comes now goes to the end.
    pub(crate) fn is_busy(&self) -> bool {
        self.waiting.load(SeqCst) > 0
    }

    /// `None`: all `size` places are taken.
    pub(crate) fn join(&self, size: u32) -> Option<Place<'_>> {
        let more = |n: u32| (n < size).then_some(n + 1);
        self.waiting.fetch_update(SeqCst, SeqCst, more).ok()?;
        Some(Place(self))
    }

    pub(crate) fn place_is_free(&self) {
        if self.is_busy() {
            self.free.notify_one();
        }
    }

    /// Whatever they waited for may be there now.
    pub(crate) fn wake_all(&self) {
        self.free.notify_waiters();
    }

    pub(crate) fn mark_stale(&self) {
        self.stale.store(true, Relaxed);
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.stale.load(Relaxed)
    }

    pub(crate) fn clear_stale(&self) {
        self.stale.store(false, Relaxed);
    }
}

impl Place<'_> {
    /// Tries until there is a place at a backend. A try that fails after having been woken goes to the end, which
    /// happens only when the backend that was free has left the pool meanwhile.
    pub(crate) async fn wait<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> T {
        // Others may have come first: their turn is before ours, unless nobody holds anything they could wait for.
        if self.0.waiting.load(SeqCst) == 1
            && let Some(got) = attempt()
        {
            // Places that were free before anybody waited woke nobody.
            if self.0.waiting.load(SeqCst) > 1 {
                self.0.free.notify_one();
            }
            return got;
        }
        loop {
            let free = self.0.free.notified();
            tokio::pin!(free);
            free.as_mut().enable();
            free.await;
            if let Some(got) = attempt() {
                return got;
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}
