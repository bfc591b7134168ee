//! The desired state as a file that reads back to the same.

use std::fmt::Write as _;

use lb_model::{
    Affinity, Backend, Desired, Forward, HealthCheck, HealthKind, Host, MssClamp, OnAllDown, OnExit, PlaneChoice, Pool,
    Service, Weight,
};

use crate::units::{self, Duration, Rate};

/// TOML. What is as by default is left out, but for the places that depend on who runs `lb`.
#[must_use]
pub fn export(desired: &Desired) -> String {
    let mut out = host(&desired.host);
    for p in desired.pools.values() {
        pool(&mut out, p);
    }
    for s in desired.services.values() {
        service(&mut out, s);
    }
    out
}

fn quoted(text: impl Into<String>) -> String {
    toml::Value::String(text.into()).to_string()
}

fn list<T: ToString>(items: &[T]) -> String {
    format!("[{}]", items.iter().map(|i| quoted(i.to_string())).collect::<Vec<_>>().join(", "))
}

/// `key = value` lines, the `=` of a section one below the other.
struct Lines(Vec<(&'static str, String)>);

impl Lines {
    fn put(&mut self, key: &'static str, value: impl Into<String>) -> &mut Self {
        self.0.push((key, value.into()));
        self
    }
    fn put_if(&mut self, wanted: bool, key: &'static str, value: impl Into<String>) -> &mut Self {
        if wanted { self.put(key, value) } else { self }
    }
    fn write(&self, out: &mut String, heading: &str) {
        let width = self.0.iter().map(|(k, _)| k.len()).max().unwrap_or(0);
        if !out.is_empty() && !heading.starts_with("[pool.") {
            out.push('\n');
        }
        let _ = writeln!(out, "{heading}");
        for (key, value) in &self.0 {
            let _ = writeln!(out, "{key:width$} = {value}");
        }
    }
}

pub(crate) const fn plane(choice: PlaneChoice) -> &'static str {
    match choice {
        PlaneChoice::Auto => "auto",
        PlaneChoice::Xdp => "xdp",
        PlaneChoice::XdpGeneric => "xdp-generic",
        PlaneChoice::Userspace => "userspace",
    }
}

fn host(h: &Host) -> String {
    let usual = Host::default();
    let path = |p: &std::path::Path| quoted(p.display().to_string());
    let mut lines = Lines(Vec::new());
    lines
        .put_if(!h.interfaces.is_empty(), "interfaces", list(&h.interfaces))
        .put("data_plane", quoted(plane(h.data_plane)))
        .put("state_dir", path(&h.state_dir))
        .put_if(h.flow_table_size != usual.flow_table_size, "flow_table_size", h.flow_table_size.to_string())
        .put_if(h.on_exit == OnExit::Detach, "on_exit", quoted("detach"))
        .put("socket", path(&h.socket))
        .put_if(h.pin_dir != usual.pin_dir, "pin_dir", path(&h.pin_dir));
    if let Some(m) = h.metrics {
        lines.put("metrics", quoted(m.to_string()));
    }
    lines.put_if(!h.snat_addresses.is_empty(), "snat_addresses", list(&h.snat_addresses));
    let mut out = String::new();
    lines.write(&mut out, "[host]");
    out
}

fn pool(out: &mut String, p: &Pool) {
    let size = p.maglev_table_size;
    let mut lines = Lines(Vec::new());
    lines
        .put("name", quoted(p.name.as_str()))
        .put("algorithm", quoted(p.algorithm.as_str()))
        .put_if(size != lb_common::pool::DEFAULT_MAGLEV_SIZE, "maglev_table_size", size.to_string())
        .put_if(p.on_all_down == OnAllDown::Spread, "on_all_down", quoted("spread"))
        .put("backends", backends(p.backends()));
    lines.write(out, "[[pool]]");
    if let Some(h) = &p.health {
        health(out, h);
    }
}

fn backends(all: &[Backend]) -> String {
    if all.is_empty() {
        return "[]".to_owned();
    }
    let weight = |w: Weight| if w == Weight::ONE { String::new() } else { format!(", weight = {}", w.get()) };
    let one = |b: &Backend| format!("  {{ address = {}{} }},\n", quoted(b.address.to_string()), weight(b.weight));
    format!("[\n{}]", all.iter().map(one).collect::<String>())
}

fn health(out: &mut String, h: &HealthCheck) {
    let mut lines = Lines(Vec::new());
    match &h.kind {
        HealthKind::Tcp => {
            lines.put("type", quoted("tcp"));
        }
        HealthKind::Http { path, host, expect } => {
            lines.put("type", quoted("http")).put("path", quoted(path.as_str()));
            if let Some(host) = host {
                lines.put("host", quoted(host.as_str()));
            }
            lines.put("expect", quoted(units::statuses(expect)));
        }
        HealthKind::Https { .. } | HealthKind::Grpc { .. } => {}
        HealthKind::Udp { send, expect } => {
            lines.put("type", quoted("udp")).put("send", quoted(units::payload(send)));
            if let Some(expect) = expect {
                lines.put("expect", quoted(units::payload(expect)));
            }
        }
    }
    lines
        .put("interval", quoted(Duration(h.interval).to_string()))
        .put("timeout", quoted(Duration(h.timeout).to_string()))
        .put("rise", h.rise.to_string())
        .put("fall", h.fall.to_string())
        .put("jitter", quoted(format!("{}%", h.jitter_percent)));
    if let Some(port) = h.port {
        lines.put("port", port.to_string());
    }
    lines.write(out, "[pool.health]");
}

fn service(out: &mut String, s: &Service) {
    let duration = |d| quoted(Duration(d).to_string());
    let mut lines = Lines(Vec::new());
    lines
        .put("name", quoted(s.name.as_str()))
        .put("listen", quoted(s.listen.to_string()))
        .put("pool", quoted(s.pool.as_str()))
        .put_if(s.forward != Forward::Nat, "forward", quoted(s.forward.as_str()));
    if let Affinity::ClientIp { timeout } = s.affinity {
        lines.put("affinity", quoted("client-ip"));
        lines.put_if(timeout != s.idle_timeout, "affinity_timeout", duration(timeout));
    }
    match s.mss_clamp {
        MssClamp::Auto => {}
        MssClamp::Off => drop(lines.put("mss_clamp", quoted("off"))),
        MssClamp::Bytes(n) => drop(lines.put("mss_clamp", n.to_string())),
    }
    lines
        .put_if(s.idle_timeout != Service::DEFAULT_IDLE_TIMEOUT, "idle_timeout", duration(s.idle_timeout))
        .put_if(s.drain_timeout != Service::DEFAULT_DRAIN_TIMEOUT, "drain_timeout", duration(s.drain_timeout))
        .put_if(!s.allow.is_empty(), "allow", list(&s.allow))
        .put_if(!s.deny.is_empty(), "deny", list(&s.deny));
    if let Some(limit) = &s.rate_limit {
        let (rate, burst) = (quoted(Rate::of(limit)), limit.burst);
        lines.put("rate_limit", format!("{{ per = \"client-ip\", new_flows = {rate}, burst = {burst} }}"));
    }
    if let Some(version) = s.send_proxy {
        lines.put("send_proxy", quoted(if version == lb_model::SendProxy::V1 { "v1" } else { "v2" }));
    }
    lines.write(out, "[[service]]");
}
