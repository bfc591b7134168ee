//! What the engine tells of itself: counters and flows.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use lb_common::flow::state;
use lb_model::Protocol;

use super::clock::age;
use super::conns::Conn;
use super::engine::UserPlane;
use super::sessions::{Session, Stage};
use super::sys::Batch;
use super::udp::HeldSession;
use crate::plane::{BackendCounters, Counters, FlowQuery, FlowRecord};

pub(super) fn counters(plane: &UserPlane) -> Counters {
    let mut backends: BTreeMap<_, BackendCounters> = BTreeMap::new();
    for pool in plane.pools.values() {
        for b in &pool.published().backends {
            // Addresses of one host name share a tally.
            backends.entry(b.id.clone()).or_insert_with(|| b.tally.backend());
        }
    }
    Counters {
        services: plane.services.iter().map(|(n, s)| (n.clone(), s.live.counters())).collect(),
        backends,
        unowned: BTreeMap::new(),
        flows: plane.shared.flows(),
        flow_capacity: plane.shared.capacity(),
        memory_bytes: (plane.workers.len() * Batch::size()) as u64,
    }
}

pub(super) fn flows(plane: &UserPlane, query: &FlowQuery) -> Vec<FlowRecord> {
    let now = plane.shared.clock.millis();
    let limit = query.limit.unwrap_or(usize::MAX);
    let asked = |name: &lb_model::Name| query.service.as_ref().is_none_or(|s| s == name);
    let mut out = Vec::new();
    for worker in &plane.workers {
        let room = limit.saturating_sub(out.len());
        let conns = worker.own.conns.snapshot();
        let tcp = conns.iter().filter(|c| asked(&c.held.service.name)).map(|c| of_conn(c, now));
        out.extend(tcp.take(room));
        let room = limit.saturating_sub(out.len());
        let sessions = worker.own.sessions();
        let udp = sessions.iter().filter(|s| asked(&s.held.held.service.name)).map(|s| of_session(s, now));
        out.extend(udp.take(room));
    }
    out
}

fn duration(now: u32, then: u32) -> Duration {
    Duration::from_millis(age(now, then).into())
}

fn of_conn(c: &Conn, now: u32) -> FlowRecord {
    FlowRecord {
        service: c.held.service.name.clone(),
        protocol: Protocol::Tcp,
        client: c.client,
        vip: c.vip,
        backend: c.upstream,
        state: state::name(c.state()),
        age: duration(now, c.created),
        idle: duration(now, c.last_seen()),
        packets: c.packets.load(Relaxed),
        bytes: c.bytes.load(Relaxed),
    }
}

pub(super) fn stage_name(stage: Stage) -> &'static str {
    state::name(match stage {
        Stage::New => state::FRESH,
        Stage::Answered => state::ANSWERED,
        Stage::Established => state::ESTABLISHED,
    })
}

fn of_session(s: &Session<HeldSession>, now: u32) -> FlowRecord {
    FlowRecord {
        service: s.held.held.service.name.clone(),
        protocol: Protocol::Udp,
        client: s.key.client,
        vip: s.key.vip,
        backend: s.held.backend(),
        state: stage_name(s.stage),
        age: duration(now, s.created),
        idle: duration(now, s.last_seen),
        packets: s.packets,
        bytes: s.bytes,
    }
}
