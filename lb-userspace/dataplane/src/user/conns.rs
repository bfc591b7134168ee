//! TCP connections as housekeeping and `lb flows` see them, and the signals that end them from outside.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use slab::Slab;

use super::clock::age;
use super::live::Held;

/// Milliseconds for which a backend may leave a connection attempt unanswered.
const CONNECT: u32 = 4_000;

/// What a connection is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// The backend did not answer in time.
    TimedOut = 1,
    /// Nothing came for `idle_timeout`.
    Idle = 2,
    /// The backend's or the service's time is over: both ends are reset.
    Over = 3,
}

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) held: Held,
    pub(super) client: SocketAddr,
    pub(super) vip: SocketAddr,
    pub(super) upstream: SocketAddr,
    pub(super) created: u32,
    last_seen: AtomicU32,
    /// A [`lb_common::flow::state`] constant.
    state: AtomicU8,
    pub(super) packets: AtomicU64,
    pub(super) bytes: AtomicU64,
    signal: AtomicU8,
    waker: AtomicWaker,
}

impl Conn {
    pub(super) fn new(held: Held, client: SocketAddr, vip: SocketAddr, upstream: SocketAddr, now: u32) -> Self {
        Self {
            held,
            client,
            vip,
            upstream,
            created: now,
            last_seen: AtomicU32::new(now),
            state: AtomicU8::new(lb_common::flow::state::FRESH),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            signal: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        }
    }

    pub(super) fn state(&self) -> u8 {
        self.state.load(Relaxed)
    }
    pub(super) fn set_state(&self, s: u8) {
        self.state.store(s, Relaxed);
    }
    pub(super) fn last_seen(&self) -> u32 {
        self.last_seen.load(Relaxed)
    }
    pub(super) fn touch(&self, now: u32) {
        self.last_seen.store(now, Relaxed);
    }

    /// Counts what came from the client.
    pub(super) fn add(&self, packets: u64, bytes: u64) {
        self.packets.fetch_add(packets, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        self.held.add(packets, bytes);
    }

    pub(super) fn send(&self, signal: Signal) {
        self.signal.store(signal as u8, Relaxed);
        self.waker.wake();
    }

    /// What was signalled; a later signal wakes `waker`.
    pub(super) fn signal(&self, waker: &Waker) -> Option<Signal> {
        self.waker.register(waker);
        match self.signal.load(Relaxed) {
            0 => None,
            1 => Some(Signal::TimedOut),
            2 => Some(Signal::Idle),
            _ => Some(Signal::Over),
        }
    }

    /// Housekeeping's look at the connection.
    fn inspect(&self, now: u32) {
        let settings = self.held.service.settings();
        let idle = age(now, self.last_seen());
        if self.held.is_over(now) {
            self.send(Signal::Over);
        } else if self.state() == lb_common::flow::state::FRESH {
            if age(now, self.created) >= CONNECT {
                self.send(Signal::TimedOut);
            }
        } else if idle >= settings.idle {
            self.send(Signal::Idle);
        } else if idle < 2_000 {
            self.held.refresh_affinity(self.client, self.last_seen());
        }
    }
}

/// A worker's connections.
#[derive(Debug, Default)]
pub(super) struct Registry {
    list: Mutex<Slab<Arc<Conn>>>,
    at: AtomicU32,
}

impl Registry {
    pub(super) fn list(&self) -> MutexGuard<'_, Slab<Arc<Conn>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, conn: Arc<Conn>) -> usize {
        self.list().insert(conn)
    }

    pub(super) fn remove(&self, key: usize) {
        drop(self.list().try_remove(key));
    }

    pub(super) fn snapshot(&self) -> Vec<Arc<Conn>> {
        self.list().iter().map(|(_, c)| c.clone()).collect()
    }

    /// Looks at a slice of the connections: at least `least`, and a tenth of them all.
    pub(super) fn sweep(&self, now: u32, least: usize) {
        let list = self.list();
        let room = list.capacity().max(1);
        let slice = least.max(room / 10).min(room);
        let start = self.at.load(Relaxed) as usize;
        for i in (0..slice).map(|k| (start + k) % room) {
            if let Some(conn) = list.get(i) {
                conn.inspect(now);
            }
        }
        self.at.store(((start + slice) % room) as u32, Relaxed);
    }
}
