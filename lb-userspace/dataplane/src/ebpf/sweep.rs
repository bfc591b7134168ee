//! Ageing: goes through the flow tables a slice at a time, removes what has been idle for too long, and counts the rest.

use std::os::fd::AsFd;

use lb_common::backend::{Backend, flag};
use lb_common::flow::{Affinity, ClientKey, Flow, FlowKey4, FlowKey6, seen, side};
use lb_common::service::Service;
use lb_common::time::age;

use super::batch::{self, Cursor};
use super::census::Census;
use super::expiry::{self, Key};
use super::maps::{Maps, Sweepable};

/// Entries read at once.
const ROOM: usize = 2048;

/// What is gone through, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Flows4,
    Fresh4,
    Flows6,
    Fresh6,
    Affinity,
    Done,
}

impl Stage {
    const fn next(self) -> Self {
        match self {
            Self::Flows4 => Self::Fresh4,
            Self::Fresh4 => Self::Flows6,
            Self::Flows6 => Self::Fresh6,
            Self::Fresh6 => Self::Affinity,
            Self::Affinity | Self::Done => Self::Done,
        }
    }
}

/// One pass under way.
#[derive(Debug)]
pub struct Sweep {
    stage: Stage,
    cursor: Cursor,
    census: Census,
    keys4: Vec<FlowKey4>,
    keys6: Vec<FlowKey6>,
    flows: Vec<Flow>,
    pub removed: u64,
}

impl Default for Sweep {
    fn default() -> Self {
        Self {
            stage: Stage::Flows4,
            cursor: Cursor::default(),
            census: Census::default(),
            keys4: Vec::new(),
            keys6: Vec::new(),
            flows: Vec::new(),
            removed: 0,
        }
    }
}

/// The entries of the services that there are, by number. A flow of any other is over.
#[derive(Clone, Debug, Default)]
pub struct Living(Vec<Option<Service>>);

impl Living {
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&Service> {
        self.0.get(number as usize)?.as_ref()
    }

    pub fn put(&mut self, number: u32, service: Service) {
        let at = number as usize;
        if at >= self.0.len() {
            self.0.resize(at + 1, None);
        }
        self.0[at] = Some(service);
    }

    pub fn remove(&mut self, number: u32) {
        if let Some(place) = self.0.get_mut(number as usize) {
            *place = None;
        }
    }
}

impl Sweep {
    /// Does one slice. `Some`: the pass is complete, and this is its census; the next call begins another.
    pub fn slice(&mut self, maps: &mut Maps, now: u32, living: &Living) -> Option<Census> {
        let more = match self.stage {
            Stage::Flows4 => {
                let mut keys = std::mem::take(&mut self.keys4);
                let more = self.flow_slice(maps, &mut keys, now, living, false);
                self.keys4 = keys;
                more
            }
            Stage::Fresh4 => {
                let mut keys = std::mem::take(&mut self.keys4);
                let more = self.flow_slice(maps, &mut keys, now, living, true);
                self.keys4 = keys;
                more
            }
            Stage::Flows6 => {
                let mut keys = std::mem::take(&mut self.keys6);
                let more = self.flow_slice(maps, &mut keys, now, living, false);
                self.keys6 = keys;
                more
            }
            Stage::Fresh6 => {
                let mut keys = std::mem::take(&mut self.keys6);
                let more = self.flow_slice(maps, &mut keys, now, living, true);
                self.keys6 = keys;
                more
            }
            Stage::Affinity => self.affinity_slice(maps, now, living),
            Stage::Done => false,
        };
        if !more {
            self.cursor = Cursor::default();
            self.stage = self.stage.next();
        }
        if self.stage == Stage::Done {
            self.stage = Stage::Flows4;
            return Some(std::mem::take(&mut self.census));
        }
        None
    }

    fn flow_slice<K: Tables>(
        &mut self,
        maps: &mut Maps,
        keys: &mut Vec<K>,
        now: u32,
        living: &Living,
        fresh: bool,
    ) -> bool {
        let mut flows = std::mem::take(&mut self.flows);
        let result = batch::read(K::table(maps, fresh).as_fd(), &mut self.cursor, ROOM, keys, &mut flows);
        let more = result.unwrap_or_else(|e| {
            tracing::warn!(error = %e, "reading the flow table failed; flows age in the next pass");
            false
        });
        for (key, flow) in keys.iter().zip(&flows) {
            let service = living.get(u32::from(flow.service));
            if expiry::is_over(now, flow, key.wide().protocol, service) && remove(maps, key, flow, now, service, fresh)
            {
                self.removed += 1;
            } else {
                self.census.note(flow, fresh);
            }
        }
        self.flows = flows;
        more
    }

    /// Affinities that are over, or that say a backend or service which is not there any more.
    fn affinity_slice(&mut self, maps: &mut Maps, now: u32, living: &Living) -> bool {
        let (mut keys, mut values) = (Vec::<ClientKey>::new(), Vec::<Affinity>::new());
        let more = batch::read(maps.affinity.as_fd(), &mut self.cursor, ROOM, &mut keys, &mut values);
        for (key, held) in keys.iter().zip(&values) {
            let backend = maps.backends.get(&held.backend, 0).unwrap_or_default();
            let over = living.get(key.service).is_none_or(|s| age(now, held.last_seen) > s.affinity_timeout);
            if over || backend.flags & flag::EXISTS == 0 {
                // Evicted meanwhile is as good.
                let _absent = maps.affinity.map.remove(key);
            }
        }
        more.unwrap_or(false)
    }
}

/// The tables of one family.
pub(super) trait Tables: Key {
    fn table(maps: &Maps, fresh: bool) -> &Sweepable<Self, Flow>;
    fn table_mut(maps: &mut Maps, fresh: bool) -> &mut Sweepable<Self, Flow>;
}

impl Tables for FlowKey4 {
    fn table(maps: &Maps, fresh: bool) -> &Sweepable<Self, Flow> {
        if fresh { &maps.fresh4 } else { &maps.flows4 }
    }
    fn table_mut(maps: &mut Maps, fresh: bool) -> &mut Sweepable<Self, Flow> {
        if fresh { &mut maps.fresh4 } else { &mut maps.flows4 }
    }
}

impl Tables for FlowKey6 {
    fn table(maps: &Maps, fresh: bool) -> &Sweepable<Self, Flow> {
        if fresh { &maps.fresh6 } else { &maps.flows6 }
    }
    fn table_mut(maps: &mut Maps, fresh: bool) -> &mut Sweepable<Self, Flow> {
        if fresh { &mut maps.fresh6 } else { &mut maps.flows6 }
    }
}

/// Removes a half that has been idle for too long, and its other half with it; `false` if it is in use after all: its
/// other half is, or it has had a packet since it was read.
fn remove<K: Tables>(maps: &mut Maps, key: &K, flow: &Flow, now: u32, service: Option<&Service>, fresh: bool) -> bool {
    let wide = key.wide();
    let current = K::table(maps, fresh).map.get(key, 0);
    let Ok(current) = current else {
        return true;
    };
    if !expiry::is_over(now, &current, wide.protocol, service) {
        return false;
    }
    // Without its service the other half is found on its own: it has no service either.
    if let Some(service) = service {
        let backend: Backend = maps.backends.get(&flow.backend, 0).unwrap_or_default();
        if let Some(other) = expiry::other_key(&wide, flow, service, &backend) {
            let other_key = K::narrow(&other);
            for table in [false, true] {
                let Ok(half) = K::table(maps, table).map.get(&other_key, 0) else {
                    continue;
                };
                // Somebody else's by now: a port that was claimed anew.
                if half.backend != flow.backend || half.service != flow.service {
                    continue;
                }
                if !expiry::is_over(now, &half, wide.protocol, Some(service)) {
                    return false;
                }
                delete(maps, &other_key, &half, table);
            }
        }
    }
    delete(maps, key, &current, fresh);
    true
}

fn delete<K: Tables>(maps: &mut Maps, key: &K, flow: &Flow, fresh: bool) {
    let removed = K::table_mut(maps, fresh).map.remove(key).is_ok();
    if removed && !fresh && flow.side == side::FORWARD && flow.seen & seen::COUNTED != 0 {
        let reaped = maps.reaped.get(&flow.backend, 0).unwrap_or(0);
        if let Err(e) = maps.reaped.set(flow.backend, reaped.wrapping_add(1), 0) {
            tracing::warn!(error = %e, backend = flow.backend, "a removed flow still counts; the next passes correct it");
        }
    }
}
