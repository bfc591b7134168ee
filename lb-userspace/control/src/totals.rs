//! Counters that never fall: what an engine counted before it was started anew is kept and added.

use std::collections::BTreeMap;

use lb_dataplane::{BackendCounters, Counters, ServiceCounters};
use lb_gateway::HttpCounters;
use lb_model::{BackendId, Name};
use serde::{Deserialize, Serialize};

/// One number: what former engines counted, and the last reading of this one. A reading below the last one means that
/// the engine began anew; one that goes on from it (adopted maps) is the same engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Meter {
    base: u64,
    last: u64,
}

impl Meter {
    fn read(&mut self, raw: u64) -> u64 {
        if raw < self.last {
            self.base = self.base.saturating_add(self.last);
        }
        self.last = raw;
        self.total()
    }

    const fn total(self) -> u64 {
        self.base.saturating_add(self.last)
    }

    /// What counted so far is gone, and its successor begins at 0.
    fn begin(&mut self) {
        *self = Self { base: self.total(), last: 0 };
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Traffic {
    flows: Meter,
    packets: Meter,
    bytes: Meter,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    dropped: BTreeMap<String, Meter>,
}

/// All meters, as they stand in the state directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    services: BTreeMap<String, Traffic>,
    /// By `pool/address`.
    backends: BTreeMap<String, Traffic>,
    /// Layer 7's part of the same, counted by another.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    http: BTreeMap<String, Traffic>,
    unowned: BTreeMap<String, Meter>,
}

/// Reads `pool/address` back; neither has a slash in it.
fn backend_id(text: &str) -> Option<BackendId> {
    let (pool, address) = text.split_once('/')?;
    Some(BackendId { pool: pool.parse().ok()?, address: address.parse().ok()? })
}

type ByReason = BTreeMap<lb_common::reason::Reason, u64>;

/// Reads counts by reason; one that the engine has not seen yet has read 0.
fn reasons(meters: &mut BTreeMap<String, Meter>, raw: &ByReason) -> ByReason {
    for reason in raw.keys() {
        meters.entry(reason.name().to_owned()).or_default();
    }
    let known = lb_common::reason::Reason::ALL.iter().filter_map(|reason| {
        let meter = meters.get_mut(reason.name())?;
        Some((*reason, meter.read(raw.get(reason).copied().unwrap_or(0))))
    });
    known.collect()
}

impl Totals {
    /// A reading with everything added that came before. What the engine does not mention it has not counted yet.
    pub fn absorb(&mut self, mut raw: Counters) -> Counters {
        let silent: Vec<Name> = self.services.keys().filter_map(|n| n.parse().ok()).collect();
        for name in silent {
            raw.services.entry(name).or_default();
        }
        for (name, counters) in &mut raw.services {
            let meters = self.services.entry(name.to_string()).or_default();
            *counters = ServiceCounters {
                active_flows: counters.active_flows,
                flows_total: meters.flows.read(counters.flows_total),
                packets: meters.packets.read(counters.packets),
                bytes: meters.bytes.read(counters.bytes),
                dropped: reasons(&mut meters.dropped, &counters.dropped),
            };
        }
        let silent: Vec<BackendId> = self.backends.keys().filter_map(|id| backend_id(id)).collect();
        for id in silent {
            raw.backends.entry(id).or_default();
        }
        for (id, counters) in &mut raw.backends {
            let meters = self.backends.entry(id.to_string()).or_default();
            *counters = BackendCounters {
                active_flows: counters.active_flows,
                flows_total: meters.flows.read(counters.flows_total),
                packets: meters.packets.read(counters.packets),
                bytes: meters.bytes.read(counters.bytes),
            };
        }
        raw.unowned = reasons(&mut self.unowned, &raw.unowned);
        raw
    }

    /// Adds requests to a reading: layer 7's flows. A backend that the gateway does not mention has counted nothing since.
    pub fn absorb_http(&mut self, into: &mut Counters, raw: &HttpCounters) {
        for (id, counters) in &raw.backends {
            let meters = self.http.entry(id.to_string()).or_default();
            meters.flows.read(counters.requests);
            meters.bytes.read(counters.bytes);
        }
        for (id, meters) in &self.http {
            let Some(id) = backend_id(id) else { continue };
            let active = raw.backends.get(&id).map_or(0, |c| c.active);
            let both = into.backends.entry(id).or_default();
            both.active_flows = both.active_flows.saturating_add(active);
            both.flows_total = both.flows_total.saturating_add(meters.flows.total());
            both.bytes = both.bytes.saturating_add(meters.bytes.total());
        }
    }

    /// A process begins: its gateway counts from 0, whatever the last one's had reached.
    pub fn begin(&mut self) {
        for meters in self.http.values_mut() {
            meters.flows.begin();
            meters.bytes.begin();
        }
    }

    /// Forgets what no longer exists: a service or backend of the same name that comes later begins at 0.
    pub fn retain(&mut self, service: impl Fn(&str) -> bool, backend: impl Fn(&str) -> bool) {
        self.services.retain(|name, _| service(name));
        self.backends.retain(|id, _| backend(id));
        self.http.retain(|id, _| backend(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::reason::Reason;

    fn reading(packets: u64, denied: Option<u64>) -> Counters {
        let service = ServiceCounters {
            active_flows: 3,
            flows_total: packets / 10,
            packets,
            bytes: packets * 100,
            dropped: denied.map(|n| (Reason::Denied, n)).into_iter().collect(),
        };
        let mut out = Counters::default();
        out.services.insert("web".parse().expect("a name"), service);
        out
    }

    fn total(t: &mut Totals, raw: Counters) -> ServiceCounters {
        t.absorb(raw).services.remove("web").expect("the service")
    }

    #[test]
    fn an_engine_started_anew_goes_on_counting() {
        let mut t = Totals::default();
        assert_eq!(total(&mut t, reading(100, Some(2))).packets, 100);
        let saved = serde_json::to_string(&t).expect("json");
        let mut t: Totals = serde_json::from_str(&saved).expect("back");
        let first = total(&mut t, reading(0, None));
        assert_eq!((first.packets, first.bytes, first.active_flows), (100, 10_000, 3));
        assert_eq!(first.dropped, [(Reason::Denied, 2)].into());
        assert_eq!(total(&mut t, reading(70, Some(1))).packets, 170);
        assert_eq!(total(&mut t, reading(80, Some(1))).dropped, [(Reason::Denied, 3)].into());
    }

    #[test]
    fn an_adopted_engine_is_not_counted_twice() {
        let mut t = Totals::default();
        total(&mut t, reading(100, None));
        let saved = serde_json::to_string(&t).expect("json");
        let mut t: Totals = serde_json::from_str(&saved).expect("back");
        assert_eq!(total(&mut t, reading(150, None)).packets, 150);
    }
}
