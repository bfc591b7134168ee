//! One worker's connections to one backend: idle HTTP/1.1 ones, the youngest first; HTTP/2 ones, shared.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use slab::Slab;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::backend::Backend;
use crate::connect::{self, NoConnection};
use crate::link::Link;
use crate::plan::MemberState;
use crate::upload::Outgoing;

/// Idle connections of a worker to a backend; more are closed.
const MOST_IDLE: usize = 512;
/// Nanoseconds after which an idle connection is closed.
const IDLE: u64 = 55_000_000_000;
/// Streams of a connection, if the backend allows as many.
const MOST_STREAMS: usize = 250;

#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) backend: Arc<Backend>,
    idle: RefCell<Vec<H1>>,
    shared: RefCell<Vec<Rc<H2>>>,
    /// An HTTP/2 connection is being made: others wait for it.
    opening: Cell<bool>,
    opened: Notify,
    /// What came of the last one.
    outcome: Cell<Option<NoConnection>>,
    /// Everything that is connected.
    pub(crate) live: RefCell<Slab<AbortHandle>>,
}

/// An HTTP/1.1 connection. Dropped in the middle of an exchange, it is cut.
#[derive(Debug)]
pub(crate) struct H1 {
    pub(crate) sender: http1::SendRequest<Outgoing>,
    task: AbortHandle,
    link: u64,
    read: Arc<AtomicU64>,
    /// Between exchanges, or beyond them: not to be cut.
    pub(crate) at_rest: bool,
    /// In ticks; 0: fresh.
    pub(crate) idle_since: u64,
}

impl H1 {
    pub(crate) fn new(
        sender: http1::SendRequest<Outgoing>,
        task: AbortHandle,
        link: u64,
        read: Arc<AtomicU64>,
    ) -> Self {
        Self { sender, task, link, read, at_rest: false, idle_since: 0 }
    }

    /// Bytes read so far.
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    pub(crate) const fn is_fresh(&self) -> bool {
        self.idle_since == 0
    }
}

impl Drop for H1 {
    fn drop(&mut self) {
        if !self.at_rest {
            self.task.abort();
        }
    }
}

/// An HTTP/2 connection, shared by requests of this worker.
#[derive(Debug)]
pub(crate) struct H2 {
    pub(crate) sender: http2::SendRequest<Outgoing>,
    link: u64,
    active: Cell<usize>,
    used: Cell<bool>,
    read: Arc<AtomicU64>,
    /// It was silent while an answer was due: the other end may be gone without a word.
    silent: Cell<bool>,
    /// Streams that the backend allows.
    pub(crate) limit: Rc<Cell<usize>>,
}

impl H2 {
    pub(crate) fn new(sender: http2::SendRequest<Outgoing>, link: u64, read: Arc<AtomicU64>) -> Self {
        Self {
            sender,
            link,
            active: Cell::new(0),
            used: Cell::new(false),
            read,
            silent: Cell::new(false),
            limit: Rc::new(Cell::new(MOST_STREAMS)),
        }
    }

    /// Bytes read so far.
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// No more requests go over it; those on it go on.
    pub(crate) fn retire(&self) {
        self.silent.set(true);
    }
}

/// One request's part in an HTTP/2 connection, and whether it is the first.
#[derive(Debug)]
pub(crate) struct Share(pub(crate) Rc<H2>, pub(crate) bool);

impl Share {
    fn of(h2: &Rc<H2>) -> Self {
        h2.active.set(h2.active.get() + 1);
        Self(Rc::clone(h2), !h2.used.replace(true))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get().saturating_sub(1));
    }
}

impl Lane {
    pub(crate) fn new(backend: Arc<Backend>) -> Rc<Self> {
        Rc::new(Self {
            backend,
            idle: RefCell::default(),
            shared: RefCell::default(),
            opening: Cell::new(false),
            opened: Notify::new(),
            outcome: Cell::new(None),
            live: RefCell::default(),
        })
    }

    /// The youngest idle connection that is still good.
    pub(crate) fn checkout(&self, link: &Link) -> Option<H1> {
        let mut idle = self.idle.borrow_mut();
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            let Some(h1) = idle.get(at) else { break };
            if h1.sender.is_closed() || h1.link != link.id {
                idle.remove(at);
            } else if h1.sender.is_ready() {
                let mut h1 = idle.remove(at);
                h1.at_rest = false;
                return Some(h1);
            }
        }
        None
    }

    /// An exchange has ended in order.
    pub(crate) fn give_back(&self, mut h1: H1, now: u64) {
        h1.at_rest = true;
        h1.idle_since = now;
        let mut idle = self.idle.borrow_mut();
        if self.backend.condition() == MemberState::Up && idle.len() < MOST_IDLE && !h1.sender.is_closed() {
            idle.push(h1);
        }
    }

    /// A place on a shared connection, made if there is none.
    pub(crate) async fn share(self: &Rc<Self>, link: &Link, within: Duration) -> Result<Share, NoConnection> {
        loop {
            if let Some(share) = self.shared_place(link) {
                return Ok(share);
            }
            if self.opening.get() {
                self.opened.notified().await;
                match self.shared_place(link) {
                    Some(share) => return Ok(share),
                    None => match self.outcome.get() {
                        Some(error) => return Err(error),
                        None => continue,
                    },
                }
            }
            let opening = Opening::new(self);
            let made = connect::h2(self, link, within).await;
            self.outcome.set(made.as_ref().err().copied());
            let h2 = made?;
            let share = Share::of(&h2);
            self.shared.borrow_mut().push(h2);
            drop(opening);
            return Ok(share);
        }
    }

    fn shared_place(&self, link: &Link) -> Option<Share> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(|h2| !h2.sender.is_closed() && !h2.silent.get() && h2.link == link.id);
        let room = |h2: &&Rc<H2>| h2.active.get() < h2.limit.get().clamp(1, MOST_STREAMS);
        shared.iter().find(room).map(Share::of)
    }

    /// Closes what the backend's condition no longer allows, and what was idle for too long.
    pub(crate) fn tidy(&self, now: u64) {
        let condition = self.backend.condition();
        if condition == MemberState::Up {
            self.idle.borrow_mut().retain(|h1| !h1.sender.is_closed() && now.saturating_sub(h1.idle_since) < IDLE);
            self.shared.borrow_mut().retain(|h2| !h2.sender.is_closed());
            return;
        }
        // Without a sender a connection ends when its exchanges have.
        self.idle.borrow_mut().clear();
        self.shared.borrow_mut().clear();
        if condition == MemberState::Expired {
            let live: Vec<AbortHandle> = self.live.borrow().iter().map(|(_, task)| task.clone()).collect();
            live.iter().for_each(AbortHandle::abort);
        }
    }

    /// Nothing is connected and nothing new will be.
    pub(crate) fn is_over(&self) -> bool {
        self.live.borrow().is_empty() && self.backend.condition() != MemberState::Up
    }

    pub(crate) fn idle_count(&self) -> usize {
        self.idle.borrow().len()
    }
}

/// While it lives, others wait.
struct Opening<'a>(&'a Lane);

impl<'a> Opening<'a> {
    fn new(lane: &'a Lane) -> Self {
        lane.opening.set(true);
        lane.outcome.set(None);
        Self(lane)
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.opening.set(false);
        self.0.opened.notify_waiters();
    }
}
