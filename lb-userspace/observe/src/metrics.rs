//! Every metric: its name, its help, and the value it is read from.

use crate::http_metrics::HttpSnapshot;
use crate::text::{Family, Kind, Page};

/// Client to backend, layer-3 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub active_flows: u64,
    pub flows_total: u64,
    pub packets: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceSample {
    pub service: String,
    pub traffic: Traffic,
    /// By reason.
    pub dropped: Vec<(&'static str, u64)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendSample {
    pub pool: String,
    pub backend: String,
    pub traffic: Traffic,
    pub weight: u16,
    /// `None`: unknown.
    pub healthy: Option<bool>,
    /// One of [`STATES`].
    pub state: &'static str,
}

/// Everything the metrics say, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    pub version: String,
    pub data_plane: String,
    pub uptime_seconds: u64,
    pub flows: u64,
    pub flow_capacity: u64,
    pub memory_bytes: u64,
    pub services: Vec<ServiceSample>,
    pub backends: Vec<BackendSample>,
    /// Dropped packets of no service, by reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// `None`: layer 7 does not run.
    pub http: Option<HttpSnapshot>,
}

pub const STATES: [&str; 3] = ["active", "draining", "drained"];

macro_rules! families {
    ($($name:ident = $kind:ident $text:literal, $help:literal;)+) => {
        $(const $name: Family = Family { name: $text, help: $help, kind: Kind::$kind };)+
        /// Every family there is, for documentation and tests.
        pub const FAMILIES: &[Family] = &[$($name),+];
    };
}

families! {
    INFO = Gauge "lb_info", "Always 1; the version and the data plane in use are labels.";
    UPTIME = Gauge "lb_uptime_seconds", "Seconds since the control plane started.";
    FLOWS = Gauge "lb_flows", "Flows held now.";
    FLOW_CAPACITY = Gauge "lb_flow_capacity", "Room for flows.";
    MEMORY = Gauge "lb_memory_bytes", "Bytes reserved for the data plane's tables.";
    SERVICE_ACTIVE = Gauge "lb_service_active_flows", "Flows of the service held now.";
    SERVICE_FLOWS = Counter "lb_service_flows_total", "Flows of the service that began.";
    SERVICE_PACKETS = Counter "lb_service_packets_total", "Packets, client to backend.";
    SERVICE_BYTES = Counter "lb_service_bytes_total", "Layer-3 bytes, client to backend.";
    DROPPED = Counter "lb_dropped_total", "Packets dropped, by reason; an empty service: packets of no service.";
    BACKEND_ACTIVE = Gauge "lb_backend_active_flows", "Flows of the backend held now, requests in flight among them.";
    BACKEND_FLOWS = Counter "lb_backend_flows_total", "Flows of the backend that began.";
    BACKEND_PACKETS = Counter "lb_backend_packets_total", "Packets, client to backend.";
    BACKEND_BYTES = Counter "lb_backend_bytes_total", "Layer-3 bytes, client to backend.";
    BACKEND_WEIGHT = Gauge "lb_backend_weight", "The backend's weight in force, 0 to 1000.";
    BACKEND_HEALTH = Gauge "lb_backend_health", "1 healthy, 0 unhealthy, -1 unknown.";
    BACKEND_STATE = Gauge "lb_backend_state", "1 for the state the backend is in, 0 for the others.";
}

/// A family and where its value is read from.
type Read<T, V> = (&'static Family, fn(&T) -> V);

impl Snapshot {
    /// The page that Prometheus reads.
    #[must_use]
    pub fn render(&self) -> String {
        let mut page = Page::default();
        page.family(&INFO, ["version", "data_plane"], [([self.version.as_str(), &self.data_plane], 1)]);
        for (family, value) in [
            (&UPTIME, self.uptime_seconds),
            (&FLOWS, self.flows),
            (&FLOW_CAPACITY, self.flow_capacity),
            (&MEMORY, self.memory_bytes),
        ] {
            page.family(family, [], [([], i128::from(value))]);
        }
        self.render_services(&mut page);
        self.render_backends(&mut page);
        if let Some(http) = &self.http {
            http.render(&mut page);
        }
        page.finish()
    }

    fn render_services(&self, page: &mut Page) {
        let traffic: [Read<Traffic, u64>; 4] = [
            (&SERVICE_ACTIVE, |t| t.active_flows),
            (&SERVICE_FLOWS, |t| t.flows_total),
            (&SERVICE_PACKETS, |t| t.packets),
            (&SERVICE_BYTES, |t| t.bytes),
        ];
        for (family, read) in traffic {
            let samples = self.services.iter().map(|s| ([s.service.as_str()], i128::from(read(&s.traffic))));
            page.family(family, ["service"], samples);
        }
        let owned = self.services.iter().flat_map(|s| s.dropped.iter().map(move |(r, n)| (s.service.as_str(), *r, *n)));
        let unowned = self.dropped.iter().map(|(r, n)| ("", *r, *n));
        let samples = owned.chain(unowned).map(|(service, reason, n)| ([service, reason], i128::from(n)));
        page.family(&DROPPED, ["service", "reason"], samples);
    }

    fn render_backends(&self, page: &mut Page) {
        let read: [Read<BackendSample, i128>; 6] = [
            (&BACKEND_ACTIVE, |b| b.traffic.active_flows.into()),
            (&BACKEND_FLOWS, |b| b.traffic.flows_total.into()),
            (&BACKEND_PACKETS, |b| b.traffic.packets.into()),
            (&BACKEND_BYTES, |b| b.traffic.bytes.into()),
            (&BACKEND_WEIGHT, |b| b.weight.into()),
            (&BACKEND_HEALTH, |b| b.healthy.map_or(-1, i128::from)),
        ];
        for (family, read) in read {
            let samples = self.backends.iter().map(|b| ([b.pool.as_str(), &b.backend], read(b)));
            page.family(family, ["pool", "backend"], samples);
        }
        let states = self.backends.iter().flat_map(|b| {
            STATES.into_iter().map(move |s| ([b.pool.as_str(), b.backend.as_str(), s], i128::from(s == b.state)))
        });
        page.family(&BACKEND_STATE, ["pool", "backend", "state"], states);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Snapshot {
        let traffic = Traffic { active_flows: 1, flows_total: 2, packets: 3, bytes: 4 };
        Snapshot {
            version: "0.1.0".into(),
            data_plane: "xdp".into(),
            uptime_seconds: 5,
            flows: 6,
            flow_capacity: 7,
            memory_bytes: 8,
            services: vec![ServiceSample { service: "web".into(), traffic, dropped: vec![("denied", 9)] }],
            backends: vec![BackendSample {
                pool: "p".into(),
                backend: "[2001:db8::1]:80".into(),
                traffic,
                weight: 10,
                healthy: Some(false),
                state: "draining",
            }],
            dropped: vec![("malformed", 11)],
            http: None,
        }
    }

    #[test]
    fn every_family_is_on_the_page_once() {
        let page = sample().render();
        for f in FAMILIES {
            assert_eq!(page.matches(&format!("# TYPE {} ", f.name)).count(), 1, "{}", f.name);
            assert_eq!(f.name.ends_with("_total"), f.kind == Kind::Counter, "{}", f.name);
        }
        assert_eq!(page.matches("# TYPE").count(), FAMILIES.len());
    }

    #[test]
    fn values_stand_where_they_belong() {
        let page = sample().render();
        for line in [
            "lb_info{version=\"0.1.0\",data_plane=\"xdp\"} 1",
            "lb_service_packets_total{service=\"web\"} 3",
            "lb_dropped_total{service=\"web\",reason=\"denied\"} 9",
            "lb_dropped_total{service=\"\",reason=\"malformed\"} 11",
            "lb_backend_bytes_total{pool=\"p\",backend=\"[2001:db8::1]:80\"} 4",
            "lb_backend_health{pool=\"p\",backend=\"[2001:db8::1]:80\"} 0",
            "lb_backend_state{pool=\"p\",backend=\"[2001:db8::1]:80\",state=\"draining\"} 1",
            "lb_backend_state{pool=\"p\",backend=\"[2001:db8::1]:80\",state=\"active\"} 0",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
    }
}
