//! UDP sessions: who is known, who is new, who has been silent too long. Sans-I/O: the time is an argument, what a session
//! holds (sockets, counts) is opaque, and sessions that end are handed back.
//!
//! A session is *fresh* until its client has spoken again after an answer. Fresh sessions make room for new ones, the
//! oldest first; established ones end by being idle, and nothing else evicts them. So neither a flood of forged clients
//! nor one of single questions disturbs whoever holds a conversation.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use super::clock::age;

/// Milliseconds for which a fresh session may be idle.
pub(crate) const FRESH: u32 = lb_common::flow::timeout::FRESH_UDP as u32;

/// The two addresses that a session is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) client: SocketAddr,
    pub(crate) vip: SocketAddr,
}

/// A session's number. Numbers are used again; `generation` tells the later session from the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id {
    slot: u32,
    generation: u32,
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The client has spoken.
    New,
    /// The backend has answered.
    Answered,
    /// The client has spoken again.
    Established,
}

impl Stage {
    const fn is_fresh(self) -> bool {
        !matches!(self, Self::Established)
    }
}

#[derive(Debug)]
pub(crate) struct Session<T> {
    pub(crate) key: Key,
    pub(crate) held: T,
    pub(crate) created: u32,
    pub(crate) last_seen: u32,
    pub(crate) stage: Stage,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    session: Option<Session<T>>,
}

#[derive(Debug)]
pub(crate) struct Sessions<T> {
    by_key: HashMap<Key, Id>,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// Fresh sessions, oldest first; those established or ended meanwhile are skipped.
    fresh: VecDeque<Id>,
    fresh_count: usize,
    capacity: usize,
    sweep_at: usize,
}

/// Every session is established: there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl<T> Sessions<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            by_key: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            fresh: VecDeque::new(),
            fresh_count: 0,
            capacity: capacity.max(1),
            sweep_at: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(crate) fn find(&self, key: &Key) -> Option<Id> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn get(&self, id: Id) -> Option<&Session<T>> {
        let slot = self.slots.get(id.slot as usize)?;
        slot.session.as_ref().filter(|_| slot.generation == id.generation)
    }

    fn get_mut(&mut self, id: Id) -> Option<&mut Session<T>> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation == id.generation { slot.session.as_mut() } else { None }
    }

    pub(crate) fn held_mut(&mut self, id: Id) -> Option<&mut T> {
        self.get_mut(id).map(|s| &mut s.held)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session<T>> {
        self.slots.iter().filter_map(|s| s.session.as_ref())
    }

    /// Must a session go before another can be opened? Ends the oldest fresh one if so.
    pub(crate) fn make_room(&mut self) -> Result<Option<Session<T>>, Full> {
        if self.by_key.len() < self.capacity {
            return Ok(None);
        }
        self.evict().map(Some).ok_or(Full)
    }

    /// Ends the oldest fresh session.
    pub(crate) fn evict(&mut self) -> Option<Session<T>> {
        while let Some(id) = self.fresh.pop_front() {
            if self.get(id).is_some_and(|s| s.stage.is_fresh()) {
                return self.close(id);
            }
        }
        None
    }

    /// A new session; the caller has seen that the key is unknown and that there is room.
    pub(crate) fn open(&mut self, key: Key, held: T, now: u32) -> Id {
        debug_assert!(!self.by_key.contains_key(&key), "opened twice");
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, session: None });
            (self.slots.len() - 1) as u32
        });
        let place = &mut self.slots[slot as usize];
        place.generation = place.generation.wrapping_add(1);
        place.session =
            Some(Session { key, held, created: now, last_seen: now, stage: Stage::New, packets: 0, bytes: 0 });
        let id = Id { slot, generation: place.generation };
        self.by_key.insert(key, id);
        self.fresh_count += 1;
        self.remember_fresh(id);
        id
    }

    /// The queue of fresh sessions keeps to a few times their number: ids that no longer stand for one are thrown out.
    fn remember_fresh(&mut self, id: Id) {
        self.fresh.push_back(id);
        if self.fresh.len() > 64 + 4 * self.fresh_count {
            let mut queue = std::mem::take(&mut self.fresh);
            queue.retain(|id| self.get(*id).is_some_and(|s| s.stage.is_fresh()));
            self.fresh = queue;
        }
    }

    /// Datagrams of the client.
    pub(crate) fn on_client(&mut self, id: Id, packets: u64, bytes: u64, now: u32) {
        let Some(s) = self.get_mut(id) else { return };
        s.last_seen = now;
        s.packets += packets;
        s.bytes += bytes;
        if s.stage == Stage::Answered {
            s.stage = Stage::Established;
            self.fresh_count -= 1;
        }
    }

    /// Datagrams of the backend.
    pub(crate) fn on_answer(&mut self, id: Id, now: u32) {
        let Some(s) = self.get_mut(id) else { return };
        s.last_seen = now;
        if s.stage == Stage::New {
            s.stage = Stage::Answered;
        }
    }

    pub(crate) fn close(&mut self, id: Id) -> Option<Session<T>> {
        let slot = self.slots.get_mut(id.slot as usize).filter(|s| s.generation == id.generation)?;
        let session = slot.session.take()?;
        self.free.push(id.slot);
        self.by_key.remove(&session.key);
        self.fresh_count -= usize::from(session.stage.is_fresh());
        Some(session)
    }

    /// Ends every session that `over` says is over.
    pub(crate) fn close_where(&mut self, over: impl Fn(&Session<T>) -> bool) -> Vec<Session<T>> {
        let ids: Vec<Id> = self.by_key.values().copied().filter(|id| self.get(*id).is_some_and(&over)).collect();
        ids.into_iter().filter_map(|id| self.close(id)).collect()
    }

    /// Looks at up to `budget` slots, going round, and ends sessions that are idle for longer than `idle` says (fresh
    /// ones no longer than [`FRESH`]) or that `over` says are over.
    pub(crate) fn sweep(
        &mut self,
        now: u32,
        budget: usize,
        idle: impl Fn(&T) -> u32,
        over: impl Fn(&T) -> bool,
    ) -> Vec<Session<T>> {
        let mut ended = Vec::new();
        for _ in 0..budget.min(self.slots.len()) {
            let at = self.sweep_at % self.slots.len();
            self.sweep_at = at + 1;
            let slot = &self.slots[at];
            let Some(s) = &slot.session else { continue };
            let limit = if s.stage.is_fresh() { idle(&s.held).min(FRESH) } else { idle(&s.held) };
            if age(now, s.last_seen) >= limit || over(&s.held) {
                let id = Id { slot: at as u32, generation: slot.generation };
                ended.extend(self.close(id));
            }
        }
        ended
    }

    /// What must hold after every call.
    #[cfg(test)]
    fn check_invariants(&self) {
        let live = self.slots.iter().filter(|s| s.session.is_some()).count();
        assert_eq!(live, self.by_key.len());
        assert!(live <= self.capacity);
        assert_eq!(live + self.free.len(), self.slots.len());
        let fresh: Vec<Id> = (0u32..)
            .zip(&self.slots)
            .filter(|(_, s)| s.session.as_ref().is_some_and(|s| s.stage.is_fresh()))
            .map(|(slot, s)| Id { slot, generation: s.generation })
            .collect();
        assert_eq!(fresh.len(), self.fresh_count);
        for id in fresh {
            assert!(self.fresh.contains(&id), "a fresh session can be evicted");
        }
        assert!(self.fresh.len() <= 65 + 4 * self.fresh_count.max(self.capacity));
        for (key, id) in &self.by_key {
            assert_eq!(self.get(*id).map(|s| s.key), Some(*key));
        }
    }
}

#[cfg(test)]
#[path = "sessions_simulation.rs"]
mod simulation;
