//! The control plane's values made into documents.

use std::collections::BTreeMap;
use std::time::Duration;

use lb_common::reason::{Reason, Verdict};
use lb_control::Diagnostic;
use lb_control::{BackendView, PlanReport, PoolView, ReloadReport, ServiceView, View};
use lb_control::{Explanation, FlowRecord};
use lb_model::{Affinity, BackendAddress, MssClamp, Observation, SendProxy};

use crate::document_http;
use crate::wire::service::RateLimitDoc;
use crate::wire::{
    BackendDoc, DiagnosticDoc, ExplainDoc, Fault, FaultKind, FlowDoc, InterfaceDoc, PlanDoc, PlanPoolDoc, PoolDoc,
    ReloadDoc, ServiceDetailDoc, ServiceDoc, StatusDoc, StepDoc,
};

#[must_use]
pub fn status(view: &View) -> StatusDoc {
    StatusDoc {
        version: view.version.to_owned(),
        data_plane: view.data_plane.as_str().to_owned(),
        data_plane_reason: view.data_plane_reason.clone(),
        interfaces: view
            .interfaces
            .iter()
            .map(|i| InterfaceDoc {
                name: i.name.clone(),
                index: i.index,
                mode: i.mode.to_owned(),
                detail: i.detail.clone(),
            })
            .collect(),
        services: services(view),
        pools: view.pools.iter().map(pool).collect(),
        listeners: view.listeners.iter().map(document_http::listener).collect(),
        routes: document_http::routes(view),
        refused: view.http.refused.iter().filter(|(_, n)| **n > 0).map(|(r, n)| ((*r).to_owned(), *n)).collect(),
        dropped: dropped(&view.unowned),
        uptime_seconds: view.uptime.as_secs(),
        flows: view.flows,
        flow_capacity: view.flow_capacity,
        memory_bytes: view.memory_bytes,
        overrides: view.overrides.clone(),
        config: view.config_path.as_ref().map(|p| p.display().to_string()),
        last_reload_error: view.last_reload_error.clone(),
        notes: view.notes.clone(),
    }
}

/// Only what was dropped: packets passed up are counted too, but lost nothing.
fn dropped(counts: &BTreeMap<Reason, u64>) -> BTreeMap<String, u64> {
    let lost = counts.iter().filter(|(r, n)| r.verdict() == Verdict::Drop && **n > 0);
    lost.map(|(r, n)| (r.name().to_owned(), *n)).collect()
}

#[must_use]
pub fn services(view: &View) -> Vec<ServiceDoc> {
    view.services.iter().map(row).collect()
}

fn row(view: &ServiceView) -> ServiceDoc {
    ServiceDoc {
        name: view.service.name.to_string(),
        listen: view.service.listen.to_string(),
        pool: view.service.pool.to_string(),
        forward: view.service.forward.to_string(),
        algorithm: view.algorithm.to_string(),
        active_flows: view.counters.active_flows,
        flows_total: view.counters.flows_total,
        packets: view.counters.packets,
        bytes: view.counters.bytes,
        dropped: dropped(&view.counters.dropped),
    }
}

/// # Errors
/// [`FaultKind::Unknown`], with the nearest name.
pub fn service(view: &View, name: &str) -> Result<ServiceDetailDoc, Fault> {
    let Some(found) = view.service(name) else {
        return Err(unknown("service", name, view.services.iter().map(|s| s.service.name.as_str())));
    };
    let s = &found.service;
    Ok(ServiceDetailDoc {
        service: row(found),
        affinity: match s.affinity {
            Affinity::None => "none".to_owned(),
            Affinity::ClientIp { .. } => "client-ip".to_owned(),
        },
        affinity_timeout_seconds: match s.affinity {
            Affinity::None => None,
            Affinity::ClientIp { timeout } => Some(timeout.as_secs()),
        },
        mss_clamp: match s.mss_clamp {
            MssClamp::Auto => "auto".to_owned(),
            MssClamp::Off => "off".to_owned(),
            MssClamp::Bytes(n) => n.to_string(),
        },
        idle_timeout_seconds: s.idle_timeout.as_secs(),
        drain_timeout_seconds: s.drain_timeout.as_secs(),
        allow: s.allow.iter().map(ToString::to_string).collect(),
        deny: s.deny.iter().map(ToString::to_string).collect(),
        rate_limit: s.rate_limit.map(|r| RateLimitDoc { interval_us: micros(r.interval), burst: r.burst }),
        send_proxy: s.send_proxy.map(|v| match v {
            SendProxy::V1 => "v1".to_owned(),
            SendProxy::V2 => "v2".to_owned(),
        }),
        backends: view.pool(s.pool.as_str()).map(|p| p.backends.iter().map(backend).collect()).unwrap_or_default(),
    })
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

fn pool(view: &PoolView) -> PoolDoc {
    PoolDoc {
        name: view.name.to_string(),
        algorithm: view.algorithm.to_string(),
        http_algorithm: view.http_algorithm.map(|a| a.to_string()),
        backends: view.backends.iter().map(backend).collect(),
    }
}

/// Of one pool, or of all.
///
/// # Errors
/// [`FaultKind::Unknown`], with the nearest name.
pub fn backends(view: &View, of: Option<&str>) -> Result<Vec<BackendDoc>, Fault> {
    match of {
        None => Ok(view.pools.iter().flat_map(|p| &p.backends).map(backend).collect()),
        Some(name) => match view.pool(name) {
            Some(pool) => Ok(pool.backends.iter().map(backend).collect()),
            None => Err(unknown("pool", name, view.pools.iter().map(|p| p.name.as_str()))),
        },
    }
}

fn backend(view: &BackendView) -> BackendDoc {
    BackendDoc {
        pool: view.pool.to_string(),
        address: view.address.to_string(),
        weight: u32::from(view.weight),
        state: view.state.as_str().to_owned(),
        health: view.health.as_str().to_owned(),
        reason: match &view.health {
            Observation::Unhealthy(why) => why.clone(),
            Observation::Unknown => "no check has answered yet, or none is configured".to_owned(),
            Observation::Healthy => "checks succeed".to_owned(),
        },
        active_flows: view.counters.active_flows,
        flows_total: view.counters.flows_total,
        packets: view.counters.packets,
        bytes: view.counters.bytes,
        resolved: match view.address {
            BackendAddress::Host { .. } => Some(view.resolved.iter().map(ToString::to_string).collect()),
            BackendAddress::Ip { .. } => None,
        },
        drain_seconds_left: view.drain_deadline_in.map(|d| d.as_secs()),
        leaving: view.leaving,
        source: view.source.as_str().to_owned(),
    }
}

#[must_use]
pub fn flow(record: &FlowRecord) -> FlowDoc {
    FlowDoc {
        service: record.service.to_string(),
        protocol: record.protocol.to_string(),
        client: record.client.to_string(),
        vip: record.vip.to_string(),
        backend: record.backend.to_string(),
        state: record.state.to_owned(),
        age_seconds: record.age.as_secs(),
        idle_seconds: record.idle.as_secs(),
        packets: record.packets,
        bytes: record.bytes,
    }
}

#[must_use]
pub fn explanation(e: &Explanation) -> ExplainDoc {
    let verdict = match e.verdict {
        Verdict::Pass => "pass",
        Verdict::Forward => "forward",
        Verdict::Respond => "respond",
        Verdict::Drop => "drop",
    };
    let step =
        |s: &lb_control::Step| StepDoc { stage: s.stage.to_owned(), decision: s.decision.clone(), why: s.why.clone() };
    ExplainDoc {
        verdict: verdict.to_owned(),
        reason: e.reason.name().to_owned(),
        service: e.service.as_ref().map(ToString::to_string),
        slot: e.slot,
        pool: e.pool.as_ref().map(ToString::to_string),
        backend: e.backend.map(|b| b.to_string()),
        next_hop: e.next_hop.clone(),
        steps: e.steps.iter().map(step).collect(),
    }
}

#[must_use]
pub fn plan(report: &PlanReport) -> PlanDoc {
    let pool = |p: &lb_control::PlanPool| PlanPoolDoc {
        pool: p.pool.clone(),
        added: p.added.clone(),
        removed: p.removed.clone(),
        slots_moved: p.slots_moved,
        slots: p.slots,
        live_flows_moved: p.live_flows_moved,
    };
    PlanDoc {
        pools: report.pools.iter().map(pool).collect(),
        services: report.services.clone(),
        routes: report.routes.clone(),
        notes: report.notes.clone(),
        warnings: report.warnings.iter().map(diagnostic).collect(),
    }
}

#[must_use]
pub fn reload(report: &ReloadReport) -> ReloadDoc {
    ReloadDoc {
        changes: report.changes.clone(),
        warnings: report.warnings.iter().map(diagnostic).collect(),
        notes: report.notes.clone(),
    }
}

#[must_use]
pub fn diagnostic(d: &Diagnostic) -> DiagnosticDoc {
    DiagnosticDoc {
        file: d.file.clone(),
        line: d.line,
        column: d.column,
        message: d.message.clone(),
        hint: d.hint.clone(),
        rendered: d.to_string(),
    }
}

/// The fault of a name that is none of the known ones.
#[must_use]
pub fn unknown<'a>(kind: &str, given: &str, known: impl Iterator<Item = &'a str> + Clone) -> Fault {
    let mut fault = Fault::new(FaultKind::Unknown, format!("there is no {kind} '{given}'"));
    fault.nearest = nearest(given, known).map(str::to_owned);
    fault
}

/// The known name nearest to the given one: a likely slip of the pen, else whatever is most like it.
fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let likeness = |k: &&str| (strsim::jaro_winkler(given, k) * 1e6) as u64;
    lb_control::nearest(given, known.clone()).or_else(|| known.max_by_key(likeness))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name() {
        let known = ["web", "api", "dns"];
        assert_eq!(nearest("wbe", known.into_iter()), Some("web"));
        assert_eq!(nearest("dnsmasq", known.into_iter()), Some("dns"));
        assert_eq!(nearest("web", std::iter::empty()), None);
    }
}
