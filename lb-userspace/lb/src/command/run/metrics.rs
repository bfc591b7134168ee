//! The control plane's view as metrics.

use std::collections::BTreeMap;

use lb_common::reason::{Reason, Verdict};
use lb_control::{BackendView, View};
use lb_model::Observation;
use lb_observe::{BackendSample, ServiceSample, Snapshot, Traffic};

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
