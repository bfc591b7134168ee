//! Deadlines of one worker's requests: thousands that hardly ever come true, so that setting one must cost nothing.
//!
//! Each is an entry in a slab; one timer sleeps until the earliest that was set, looks through them all, and sleeps until
//! the earliest that is left. A deadline that is put off or dropped never touches the timer.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use slab::Slab;
use tokio::sync::Notify;

use crate::clock;

#[derive(Debug)]
struct Entry {
    /// In ticks.
    at: u64,
    fired: bool,
    waker: Option<Waker>,
}

#[derive(Debug)]
pub(crate) struct Deadlines {
    entries: RefCell<Slab<Entry>>,
    /// Until when the timer sleeps.
    next: Cell<u64>,
    sooner: Notify,
}

impl Deadlines {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self { entries: RefCell::default(), next: Cell::new(u64::MAX), sooner: Notify::new() })
    }

    pub(crate) fn set(self: &Rc<Self>, at: u64) -> Deadline {
        let key = self.entries.borrow_mut().insert(Entry { at, fired: false, waker: None });
        self.wake_for(at);
        Deadline { all: Rc::clone(self), key }
    }

    fn wake_for(&self, at: u64) {
        if at < self.next.get() {
            self.next.set(at);
            self.sooner.notify_one();
        }
    }

    /// Marks what is due and wakes who waits for it; then the timer sleeps until the earliest that is left.
    fn fire(&self, now: u64) {
        let mut next = u64::MAX;
        let mut due = Vec::new();
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            if entry.fired {
                continue;
            }
            if entry.at <= now {
                entry.fired = true;
                due.extend(entry.waker.take());
            } else {
                next = next.min(entry.at);
            }
        }
        self.next.set(next);
        due.into_iter().for_each(Waker::wake);
    }

    /// The timer; runs as long as its worker.
    pub(crate) async fn run(self: Rc<Self>) {
        loop {
            let now = clock::ticks(clock::now());
            let next = self.next.get();
            if next <= now {
                self.fire(now);
                continue;
            }
            // Whole milliseconds are what the timer knows; a far one is looked at again.
            let wait = std::time::Duration::from_nanos((next - now).min(3_600_000_000_000));
            let _ = tokio::time::timeout(wait, self.sooner.notified()).await;
        }
    }
}

/// One deadline; gone when dropped.
#[derive(Debug)]
pub(crate) struct Deadline {
    all: Rc<Deadlines>,
    key: usize,
}

impl Deadline {
    /// Puts it off, or sooner; `u64::MAX`: never.
    pub(crate) fn put(&self, at: u64) {
        if let Some(entry) = self.all.entries.borrow_mut().get_mut(self.key) {
            entry.at = at;
            entry.fired = false;
        }
        self.all.wake_for(at);
    }

    /// Ready when it has passed.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut entries = self.all.entries.borrow_mut();
        let Some(entry) = entries.get_mut(self.key) else { return Poll::Pending };
        if entry.fired {
            return Poll::Ready(());
        }
        if !entry.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            entry.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The future's result, or `None` if the deadline comes first.
    pub(crate) async fn watch<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(out) => Poll::Ready(Some(out)),
            Poll::Pending => self.poll(cx).map(|()| None),
        })
        .await
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.all.entries.borrow_mut().try_remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn after(ms: u64) -> u64 {
        clock::ticks(clock::now() + Duration::from_millis(ms))
    }

    async fn elapsed_ms(d: &Deadline, since: Instant) -> u128 {
        assert!(d.watch(std::future::pending::<()>()).await.is_none());
        clock::now().duration_since(since).as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn they_come_true_in_time_whatever_the_order() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let all = Deadlines::new();
                tokio::task::spawn_local(Rc::clone(&all).run());
                let start = clock::now();
                let (late, soon) = (all.set(after(30_000)), all.set(after(50)));
                let gone = all.set(after(10));
                drop(gone);
                assert!((50..60).contains(&elapsed_ms(&soon, start).await));
                soon.put(after(100));
                assert!((150..160).contains(&elapsed_ms(&soon, start).await));
                assert!((30_000..30_010).contains(&elapsed_ms(&late, start).await));
                late.put(u64::MAX);
                let idle = tokio::time::timeout(Duration::from_secs(7_200), late.watch(std::future::pending::<()>()));
                assert!(idle.await.is_err());
                assert_eq!(late.watch(async { 7 }).await, Some(7));
            })
            .await;
    }
}
