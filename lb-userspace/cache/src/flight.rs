//! Requests to the backend that are under way, so that others for the same response wait for them instead of going too.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::fill::Fill;
use crate::key::Key;
use crate::outcome::Outcome;
use crate::status::Mark;
use crate::stored::Stored;

/// What became of a request, once the response's head is here.
#[derive(Clone, Debug)]
pub(crate) enum Landed {
    /// It will be stored: read along.
    Fill(Arc<Fill>),
    /// A stored response was confirmed, or has to do because the backend failed.
    Stored(Arc<Stored>, Mark, Outcome),
    /// For the one who asked only.
    Alone,
}

#[derive(Debug)]
pub(crate) struct Flight {
    landed: watch::Sender<Option<Landed>>,
    followers: AtomicUsize,
}

/// All flights of one cache.
#[derive(Debug)]
pub(crate) struct Flights {
    open: Mutex<HashMap<Key, Arc<Flight>>>,
    /// Hashes of URLs whose last response was for one alone: waiting for each other would only be slow there.
    alone: Box<[AtomicU64]>,
}

const REMEMBERED: usize = 4096;

impl Default for Flights {
    fn default() -> Self {
        Self { open: Mutex::default(), alone: (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect() }
    }
}

/// Whether somebody is asking already.
#[derive(Debug)]
pub(crate) enum Join {
    Lead(Landing),
    Follow(Follower),
    /// Not worth waiting for.
    Alone,
}

impl Flights {
    fn open(&self) -> MutexGuard<'_, HashMap<Key, Arc<Flight>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory(&self, key: &Key) -> Option<&AtomicU64> {
        self.alone.get(usize::try_from(key.hash() % REMEMBERED as u64).unwrap_or(0))
    }

    pub(crate) fn is_alone(&self, key: &Key) -> bool {
        self.memory(key).is_some_and(|slot| slot.load(Ordering::Relaxed) == key.hash())
    }

    pub(crate) fn remember(&self, key: &Key, alone: bool) {
        let Some(slot) = self.memory(key) else { return };
        if alone {
            slot.store(key.hash(), Ordering::Relaxed);
        } else {
            let _ = slot.compare_exchange(key.hash(), 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    pub(crate) fn join(self: &Arc<Self>, key: &Key) -> Join {
        if self.is_alone(key) {
            return Join::Alone;
        }
        let mut open = self.open();
        if let Some(flight) = open.get(key) {
            flight.followers.fetch_add(1, Ordering::Relaxed);
            return Join::Follow(Follower { flight: flight.clone(), landed: flight.landed.subscribe() });
        }
        let flight = Arc::new(Flight { landed: watch::Sender::new(None), followers: AtomicUsize::new(0) });
        open.insert(key.clone(), flight.clone());
        Join::Lead(Landing { flights: self.clone(), key: key.clone(), flight })
    }

    /// A response for `key` is on its way.
    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.open().contains_key(key)
    }

    /// Ends the flight if nobody follows it.
    pub(crate) fn abandon(&self, key: &Key, flight: &Arc<Flight>) -> bool {
        let mut open = self.open();
        let nobody = flight.followers.load(Ordering::Relaxed) == 0;
        if nobody && open.get(key).is_some_and(|f| Arc::ptr_eq(f, flight)) {
            open.remove(key);
        }
        nobody
    }
}

/// The leader's part: others hear of the head through it; they join until it is dropped.
#[derive(Debug)]
pub(crate) struct Landing {
    flights: Arc<Flights>,
    key: Key,
    pub(crate) flight: Arc<Flight>,
}

impl Landing {
    pub(crate) fn tell(&self, landed: Landed) {
        self.flight.landed.send_replace(Some(landed));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut open = self.flights.open();
        if open.get(&self.key).is_some_and(|f| Arc::ptr_eq(f, &self.flight)) {
            open.remove(&self.key);
        }
        drop(open);
        self.flight.landed.send_if_modified(|landed| {
            let untold = landed.is_none();
            landed.get_or_insert(Landed::Alone);
            untold
        });
    }
}

/// One who waits.
#[derive(Debug)]
pub(crate) struct Follower {
    flight: Arc<Flight>,
    landed: watch::Receiver<Option<Landed>>,
}

impl Follower {
    pub(crate) async fn wait(&mut self) -> Landed {
        match self.landed.wait_for(Option::is_some).await {
            Ok(landed) => landed.clone().unwrap_or(Landed::Alone),
            Err(_) => Landed::Alone,
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.flight.followers.fetch_sub(1, Ordering::Relaxed);
    }
}
