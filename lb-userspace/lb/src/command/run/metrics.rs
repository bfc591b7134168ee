//! The control plane's view as metrics.

use std::collections::BTreeMap;

use lb_common::reason::{Reason, Verdict};
use lb_control::{BackendView, CacheStats, HttpCounters, LATENCY_BUCKETS, View};
use lb_model::Observation;
use lb_observe::http_metrics::{AnswerSample, CacheSample, DurationSample, ListenerSample, RequestSample};
use lb_observe::{BackendSample, HttpSnapshot, ServiceSample, Snapshot, Traffic};

pub(super) fn snapshot(view: &View) -> Snapshot {
    Snapshot {
        version: view.version.to_owned(),
        data_plane: view.data_plane.as_str().to_owned(),
        uptime_seconds: view.uptime.as_secs(),
        flows: view.flows,
        flow_capacity: view.flow_capacity,
        memory_bytes: view.memory_bytes,
        services: view
            .services
            .iter()
            .map(|s| ServiceSample {
                service: s.service.name.to_string(),
                traffic: Traffic {
                    active_flows: s.counters.active_flows,
                    flows_total: s.counters.flows_total,
                    packets: s.counters.packets,
                    bytes: s.counters.bytes,
                },
                dropped: dropped(&s.counters.dropped),
            })
            .collect(),
        backends: view.pools.iter().flat_map(|p| &p.backends).map(backend).collect(),
        dropped: dropped(&view.unowned),
        http: (!view.listeners.is_empty() || view.http != HttpCounters::default()).then(|| http(view)),
    }
}

fn http(view: &View) -> HttpSnapshot {
    let h = &view.http;
    let requests = h.requests.iter().map(|(labels, n)| RequestSample {
        listener: labels.listener.clone(),
        route: labels.route.clone(),
        pool: labels.pool.clone(),
        status: labels.status,
        count: *n,
    });
    let durations = h.route_seconds.iter().map(|(route, histogram)| DurationSample {
        route: route.to_string(),
        counts: histogram.counts.clone(),
        sum_seconds: histogram.sum.as_secs_f64(),
    });
    let answers = h.backend_requests.iter().map(|((backend, status), n)| AnswerSample {
        pool: backend.pool.to_string(),
        backend: backend.address.to_string(),
        status: *status,
        count: *n,
    });
    let listeners = view.listeners.iter().map(|l| ListenerSample {
        listener: l.listener.name.to_string(),
        connections: l.counters.connections,
        connections_total: l.counters.connections_total,
        tls_failures: l.counters.tls_failures,
        proxy_refused: l.counters.proxy_refused,
    });
    let CacheStats { hits, misses, stored, evicted, entries, bytes } = h.cache;
    HttpSnapshot {
        requests: requests.collect(),
        bounds: LATENCY_BUCKETS.to_vec(),
        durations: durations.collect(),
        answers: answers.collect(),
        listeners: listeners.collect(),
        refused: h.refused.iter().map(|(reason, n)| (*reason, *n)).collect(),
        cache: CacheSample { hits, misses, stored, evicted, entries, bytes },
        access_lines_dropped: h.access_lines_dropped,
    }
}

fn backend(b: &BackendView) -> BackendSample {
    BackendSample {
        pool: b.pool.to_string(),
        backend: b.address.to_string(),
        traffic: Traffic {
            active_flows: b.counters.active_flows,
            flows_total: b.counters.flows_total,
            packets: b.counters.packets,
            bytes: b.counters.bytes,
        },
        weight: b.weight,
        healthy: match b.health {
            Observation::Unknown => None,
            Observation::Healthy => Some(true),
            Observation::Unhealthy(_) => Some(false),
        },
        state: b.state.as_str(),
    }
}

fn dropped(counts: &BTreeMap<Reason, u64>) -> Vec<(&'static str, u64)> {
    let lost = counts.iter().filter(|(r, _)| r.verdict() == Verdict::Drop);
    lost.map(|(r, n)| (r.name(), *n)).collect()
}
