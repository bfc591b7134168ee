//! Counters as the kernel's half keeps them, under the names of the plan.

use std::collections::BTreeMap;

use aya::maps::{MapData, PerCpuArray};
use lb_common::reason::{REASON_SLOTS, Reason, Verdict};
use lb_common::service::Traffic;
use lb_model::BackendId;

use super::census::active;
use super::engine::EbpfPlane;
use super::publish::Publisher;
use crate::plane::{BackendCounters, Counters, ServiceCounters};

pub(super) fn counters(plane: &EbpfPlane) -> Counters {
    let p = &plane.publisher;
    let mut out = Counters {
        flow_capacity: u64::from(plane.capacity),
        memory_bytes: p.maps.memory_bytes + p.table_bytes(),
        ..Counters::default()
    };
    for published in p.pools.values() {
        for (m, n) in published.pool.members.iter().zip(&published.numbers) {
            let held = active_flows(plane, *n);
            out.flows += held;
            let id = BackendId { pool: published.pool.name.clone(), address: m.configured.clone() };
            let c = out.backends.entry(id).or_default();
            add(c, held, sum(&p.maps.backend_traffic, *n));
        }
    }
    for (_, n) in p.books.backends.retired() {
        out.flows += active_flows(plane, n);
    }
    for (name, s) in &p.services {
        let Some(n) = p.books.services.get(name) else {
            continue;
        };
        let t = sum(&p.maps.service_traffic, n);
        let counters = ServiceCounters {
            active_flows: service_active(plane, s, n),
            flows_total: t.flows,
            packets: t.packets,
            bytes: t.bytes,
            dropped: verdicts(p, n).into_iter().filter(|(r, _)| r.verdict() == Verdict::Drop).collect(),
        };
        out.services.insert(name.clone(), counters);
    }
    out.unowned = verdicts(p, 0);
    out
}

fn add(c: &mut BackendCounters, held: u64, t: Traffic) {
    c.active_flows += held;
    c.flows_total += t.flows;
    c.packets += t.packets;
    c.bytes += t.bytes;
}

/// Established flows as counted now, fresh ones as last gone through.
pub(super) fn active_flows(plane: &EbpfPlane, backend: u32) -> u64 {
    let maps = &plane.publisher.maps;
    let load = maps.loads.get(&backend, 0).unwrap_or_default();
    let reaped = maps.reaped.get(&backend, 0).unwrap_or(0);
    let fresh = plane.passes.last.fresh.of(backend);
    u64::try_from(active(load, reaped)).unwrap_or(0) + fresh
}

/// The only service of its pool has its backends' flows; services that share one are told apart by the last pass.
fn service_active(plane: &EbpfPlane, s: &lb_model::Service, number: u32) -> u64 {
    let p = &plane.publisher;
    let alone = p.services.values().filter(|o| o.pool == s.pool).count() == 1;
    match p.pools.get(&s.pool) {
        Some(pool) if alone => pool.numbers.iter().map(|n| active_flows(plane, *n)).sum(),
        _ => plane.passes.last.by_service.of(number),
    }
}

fn sum(map: &PerCpuArray<MapData, Traffic>, index: u32) -> Traffic {
    let mut out = Traffic::default();
    if let Ok(values) = map.get(&index, 0) {
        for v in values.iter() {
            out.packets += v.packets;
            out.bytes += v.bytes;
            out.flows += v.flows;
        }
    }
    out
}

/// Counted packets of a service (0: of none) by reason; only reasons seen.
fn verdicts(p: &Publisher, service: u32) -> BTreeMap<Reason, u64> {
    let count = |r: &Reason| {
        let values = p.maps.verdicts.get(&(service * REASON_SLOTS + *r as u32), 0);
        values.map_or(0, |v| v.iter().sum::<u64>())
    };
    Reason::ALL.iter().map(|r| (*r, count(r))).filter(|(_, n)| *n > 0).collect()
}
