//! `[[service]]`.

use std::time::Duration;

use lb_model::{Affinity, Forward, Listen, MssClamp, Name, Prefix, RateLimit, SendProxy, Service};

use crate::report::{Problem, Report};
use crate::table::Table;
use crate::units::Rate;
use crate::value::{At, Value};

#[derive(Debug)]
pub(crate) struct DraftService {
    pub(crate) table: Table,
    pub(crate) name: Option<Name>,
    pub(crate) listen: Option<Listen>,
    pub(crate) pool: Option<Name>,
    pub(crate) forward: Option<Forward>,
    pub(crate) send_proxy: Option<SendProxy>,
    pub(crate) mss_clamp: Option<MssClamp>,
    rest: Option<Rest>,
}

/// What needs no cross-check.
#[derive(Debug)]
struct Rest {
    affinity: Affinity,
    idle_timeout: Duration,
    drain_timeout: Duration,
    allow: Vec<Prefix>,
    deny: Vec<Prefix>,
    rate_limit: Option<RateLimit>,
}

pub(crate) fn read(table: Table, report: &mut Report<'_>) -> DraftService {
    DraftService {
        name: table.get("name"),
        listen: listen(&table, report),
        pool: table.get("pool"),
        forward: table.get::<&str>("forward").map(|f| if f == "dsr" { Forward::Dsr } else { Forward::Nat }),
        send_proxy: table.get::<&str>("send_proxy").map(|v| if v == "v1" { SendProxy::V1 } else { SendProxy::V2 }),
        mss_clamp: table.get::<Value>("mss_clamp").and_then(|v| match v {
            Value::Integer(n) => n.try_into().ok().map(MssClamp::Bytes),
            Value::Choice("off") => Some(MssClamp::Off),
            _ => Some(MssClamp::Auto),
        }),
        rest: rest(&table, report),
        table,
    }
}

fn listen(table: &Table, report: &mut Report<'_>) -> Option<Listen> {
    let listen: Listen = table.get("listen")?;
    let ill = match listen.address {
        std::net::IpAddr::V4(a) if a.is_broadcast() || a.is_multicast() => {
            Some("TCP and UDP services have one host's address")
        }
        std::net::IpAddr::V6(a) if a.is_multicast() => Some("TCP and UDP services have one host's address"),
        std::net::IpAddr::V6(a) if a.to_ipv4_mapped().is_some() => Some("write an IPv4 address as such"),
        _ => None,
    };
    let Some(hint) = ill else { return Some(listen) };
    let problem = Problem::new(format!("a service cannot listen on {}", listen.address));
    report.error(table.place("listen"), problem.hint(hint));
    None
}

fn rest(table: &Table, report: &mut Report<'_>) -> Option<Rest> {
    let affinity: Option<&str> = table.get("affinity");
    if let Some(place) = table.key_place("affinity_timeout").filter(|_| affinity == Some("none")) {
        let problem = Problem::new("affinity_timeout does nothing without affinity");
        report.warning(place, problem.hint("add affinity = \"client-ip\""));
    }
    let allow = prefixes(table, "allow");
    if table.is_empty_list("allow") {
        let problem = Problem::new("an empty allow would let nobody in, or everybody: it is not clear which is meant");
        let hint = "leave it out for everybody, or write deny = [\"0.0.0.0/0\", \"::/0\"] for nobody";
        report.error(table.place("allow"), problem.hint(hint));
    }
    let idle_timeout: Duration = table.get("idle_timeout")?;
    let timeout = if table.is_written("affinity_timeout") { table.get("affinity_timeout")? } else { idle_timeout };
    Some(Rest {
        affinity: if affinity? == "client-ip" { Affinity::ClientIp { timeout } } else { Affinity::None },
        idle_timeout,
        drain_timeout: table.get("drain_timeout")?,
        allow,
        deny: prefixes(table, "deny"),
        rate_limit: table.get::<Table>("rate_limit").and_then(|t| rate_limit(&t)),
    })
}

fn prefixes(table: &Table, key: &str) -> Vec<Prefix> {
    let written: Vec<At<Prefix>> = table.list(key);
    written.into_iter().map(|p| p.value).collect()
}

fn rate_limit(table: &Table) -> Option<RateLimit> {
    let rate: Rate = table.get("new_flows")?;
    let burst = if table.is_written("burst") { table.get::<i64>("burst")?.try_into().ok()? } else { rate.count };
    Some(RateLimit { interval: rate.interval(), burst })
}

impl DraftService {
    pub(super) fn into_service(self) -> Option<Service> {
        let mut service = Service::new(self.name?, self.listen?, self.pool?);
        let rest = self.rest?;
        service.forward = self.forward?;
        service.mss_clamp = self.mss_clamp?;
        service.send_proxy = self.send_proxy;
        service.affinity = rest.affinity;
        service.idle_timeout = rest.idle_timeout;
        service.drain_timeout = rest.drain_timeout;
        service.allow = rest.allow;
        service.deny = rest.deny;
        service.rate_limit = rest.rate_limit;
        Some(service)
    }
}
