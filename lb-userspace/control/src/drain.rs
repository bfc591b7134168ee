//! Draining, as a state machine without a clock: from "no new flows" to drained, by the flows' end or the deadline.
//!
//! `Waiting` → (no flows, seen twice a second apart) → `Done`, or → (deadline) → `Expired` → (no flows, or a moment
//! later) → `Done`. What leaves its pool disappears when it is done; what was drained by command stays listed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_model::http::HttpPool;
use lb_model::{Algorithm, BackendId, Weight};

/// Two readings of no flows must lie this far apart: engines count flows a moment after the packet.
pub const SETTLE: Duration = Duration::from_secs(1);
/// What is left so long after the deadline is left to the data plane, which resets it when its next packet comes.
pub const GRACE: Duration = Duration::from_secs(2);

/// What drains: a backend, or one address that a host name no longer resolves to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub backend: BackendId,
    /// `None`: the backend as a whole.
    pub stale: Option<IpAddr>,
}

impl From<BackendId> for Key {
    fn from(backend: BackendId) -> Self {
        Self { backend, stale: None }
    }
}

/// What the data plane must still know of something that its pool no longer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remains {
    pub weight: Weight,
    pub addresses: Vec<IpAddr>,
    pub algorithm: Algorithm,
    pub maglev_table_size: u32,
    /// The data plane knew it.
    pub layer_4: bool,
    /// What its pool was to layer 7, if it was anything. Not kept over a restart: requests end with the process.
    pub http: Option<Arc<HttpPool>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// `lb backend drain`: stays in the pool.
    Command,
    /// Removed by CLI or reload, or no longer resolved to. `hidden`: by force, and no longer listed.
    Leaving { remains: Remains, hidden: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Waiting {
        deadline: Instant,
    },
    /// The deadline has passed, at `since`.
    Expired {
        since: Instant,
    },
    /// `expired`: flows may be left that the data plane is to end.
    Done {
        expired: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    pub why: Why,
    pub phase: Phase,
    /// Since when every reading said "no flows".
    idle_since: Option<Instant>,
}

impl Drain {
    #[must_use]
    pub const fn is_leaving(&self) -> bool {
        matches!(self.why, Why::Leaving { .. })
    }
    #[must_use]
    pub const fn is_hidden(&self) -> bool {
        matches!(self.why, Why::Leaving { hidden: true, .. })
    }
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done { .. })
    }
    /// Flows still held are to be ended.
    #[must_use]
    pub const fn is_expired(&self) -> bool {
        matches!(self.phase, Phase::Expired { .. } | Phase::Done { expired: true })
    }
}

/// What happened, for the log and for the reconciler to look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The deadline has passed with flows left.
    Expired(Key),
    /// Drained, and stays listed.
    Drained(Key),
    /// Drained, and no longer there.
    Gone(Key),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drains {
    drains: BTreeMap<Key, Drain>,
}

impl Drains {
    /// Begins a drain, or gives one under way a new reason and deadline. One that is done stays so, unless it now
    /// leaves, in which case it is gone at the next tick.
    pub fn start(&mut self, key: Key, why: Why, deadline: Instant) {
        match self.drains.get_mut(&key) {
            Some(drain) => {
                drain.why = why;
                if let Phase::Waiting { deadline: d } = &mut drain.phase {
                    *d = deadline;
                }
            }
            None => {
                let drain = Drain { why, phase: Phase::Waiting { deadline }, idle_since: None };
                self.drains.insert(key, drain);
            }
        }
    }

    /// Puts back what a state file holds.
    pub fn restore(&mut self, key: Key, why: Why, phase: Phase) {
        self.drains.insert(key, Drain { why, phase, idle_since: None });
    }

    /// Takes a drain back, whatever its phase; true if there was one.
    pub fn cancel(&mut self, key: &Key) -> bool {
        self.drains.remove(key).is_some()
    }

    /// What leaves is past its deadline now, and no longer shown.
    pub fn force_out(&mut self, key: &Key, now: Instant) {
        if let Some(drain) = self.drains.get_mut(key)
            && let Why::Leaving { hidden, .. } = &mut drain.why
        {
            *hidden = true;
            drain.phase = Phase::Expired { since: now };
            drain.idle_since = None;
        }
    }

    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Drain> {
        self.drains.get(key)
    }
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Drain)> {
        self.drains.iter()
    }
    /// Something waits for flows to end.
    #[must_use]
    pub fn are_under_way(&self) -> bool {
        self.drains.values().any(|d| !d.is_done() || d.is_leaving())
    }

    /// Takes a reading of every draining backend's flows and moves on. The reading must be later than the plane's
    /// knowledge of the drain.
    pub fn advance(&mut self, active_flows: impl Fn(&BackendId) -> u64, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        for (key, drain) in &mut self.drains {
            if active_flows(&key.backend) > 0 {
                drain.idle_since = None;
            } else {
                drain.idle_since.get_or_insert(now);
            }
            let settled = drain.idle_since.is_some_and(|since| now >= since + SETTLE);
            match drain.phase {
                Phase::Waiting { .. } if settled => drain.phase = Phase::Done { expired: false },
                Phase::Waiting { deadline } if now >= deadline => {
                    drain.phase = Phase::Expired { since: now };
                    if !drain.is_hidden() {
                        events.push(Event::Expired(key.clone()));
                    }
                    continue;
                }
                Phase::Expired { since } if settled || now >= since + GRACE => {
                    drain.phase = Phase::Done { expired: true };
                }
                Phase::Done { .. } if drain.is_leaving() => {}
                _ => continue,
            }
            let done = if drain.is_leaving() { Event::Gone } else { Event::Drained };
            events.push(done(key.clone()));
        }
        self.drains.retain(|_, d| !(d.is_leaving() && d.is_done()));
        events
    }

    /// What holds between any two calls.
    ///
    /// # Panics
    /// If it does not.
    pub fn check_invariants(&self, now: Instant) {
        for (key, drain) in &self.drains {
            assert!(key.stale.is_none() || drain.is_leaving(), "a stale address can only leave");
            if let Phase::Expired { since } = drain.phase {
                assert!(since <= now);
            }
            if let Some(since) = drain.idle_since {
                assert!(since <= now);
            }
        }
    }
}
