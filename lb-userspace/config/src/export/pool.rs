//! `[[pool]]` as a file has it.

use lb_model::http::{HashOn, HttpAlgorithm, HttpPool, Outlier, SameSite, Sticky, UpstreamProtocol, UpstreamTls};
use lb_model::{Algorithm, Backend, HealthCheck, HealthKind, OnAllDown, Pool, Weight};

use super::{Lines, duration, path, percent, quoted};
use crate::units;

pub(super) fn write(out: &mut String, p: &Pool) {
    let size = p.maglev_table_size;
    let mut lines = Lines(Vec::new());
    lines
        .put("name", quoted(p.name.as_str()))
        .put_some("algorithm", algorithm(p), quoted)
        .put_if(size != lb_common::pool::DEFAULT_MAGLEV_SIZE, "maglev_table_size", size.to_string())
        .put_if(p.on_all_down == OnAllDown::Spread, "on_all_down", quoted("spread"))
        .put("backends", backends(p.backends()));
    upstream(&mut lines, &p.http);
    lines.write(out, "[[pool]]");
    if let Some(h) = &p.health {
        health(out, h);
    }
}

fn backends(all: &[Backend]) -> String {
    if all.is_empty() {
        return "[]".to_owned();
    }
    let one = |b: &Backend| {
        let mut fields = Lines(Vec::new());
        fields
            .put("address", quoted(b.address.to_string()))
            .put_if(b.weight != Weight::ONE, "weight", b.weight.get().to_string())
            .put_if(b.backup, "backup", "true");
        format!("  {},\n", fields.inline())
    };
    format!("[\n{}]", all.iter().map(one).collect::<String>())
}

fn health(out: &mut String, h: &HealthCheck) {
    let mut lines = Lines(Vec::new());
    match &h.kind {
        HealthKind::Tcp => {
            lines.put("type", quoted("tcp"));
        }
        // TLS is the pool's.
        HealthKind::Http { path, host, expect } | HealthKind::Https { path, host, expect, .. } => {
            let secure = matches!(h.kind, HealthKind::Https { .. });
            lines
                .put("type", quoted(if secure { "https" } else { "http" }))
                .put("path", quoted(path.as_str()))
                .put_some("host", host.as_deref(), quoted)
                .put("expect", quoted(units::statuses(expect)));
        }
        HealthKind::Grpc { service, .. } => {
            lines.put("type", quoted("grpc")).put_if(!service.is_empty(), "service", quoted(service.as_str()));
        }
        HealthKind::Udp { send, expect } => {
            lines.put("type", quoted("udp")).put("send", quoted(units::payload(send)));
            if let Some(expect) = expect {
                lines.put("expect", quoted(units::payload(expect)));
            }
        }
    }
    lines
        .put("interval", duration(h.interval))
        .put("timeout", duration(h.timeout))
        .put("rise", h.rise.to_string())
        .put("fall", h.fall.to_string())
        .put("jitter", percent(h.jitter_percent));
    if let Some(port) = h.port {
        lines.put("port", port.to_string());
    }
    lines.write(out, "[pool.health]");
}

/// What was written, if anything was: each layer has its own default.
fn algorithm(p: &Pool) -> Option<&'static str> {
    match p.http.algorithm {
        HttpAlgorithm::P2c if p.algorithm == Algorithm::default() => None,
        HttpAlgorithm::P2c => Some(p.algorithm.as_str()),
        written => Some(written.as_str()),
    }
}

fn upstream(lines: &mut Lines, http: &HttpPool) {
    let usual = HttpPool::default();
    match &http.hash_on {
        HashOn::ClientIp => {}
        HashOn::Header(name) => drop(lines.put("hash_on", quoted(format!("header:{name}")))),
        HashOn::Cookie(name) => drop(lines.put("hash_on", quoted(format!("cookie:{name}")))),
        HashOn::Path => drop(lines.put("hash_on", quoted("path"))),
    }
    match http.protocol {
        UpstreamProtocol::H1 => {}
        UpstreamProtocol::H2 => drop(lines.put("protocol", quoted("h2"))),
        UpstreamProtocol::H2c => drop(lines.put("protocol", quoted("h2c"))),
    }
    let mut queue = Lines(Vec::new());
    queue.put("size", http.queue.size.to_string()).put("timeout", duration(http.queue.timeout));
    lines
        .put_some("tls", http.tls.as_ref(), tls)
        .put_some("sticky", http.sticky.as_ref(), sticky)
        .put_some("outlier", http.outlier.as_ref(), outlier)
        .put_if(http.drain_timeout != usual.drain_timeout, "drain_timeout", duration(http.drain_timeout))
        .put_if(http.slow_start != usual.slow_start, "slow_start", duration(http.slow_start))
        .put_if(http.max_requests != 0, "max_requests", http.max_requests.to_string())
        .put_if(http.queue != usual.queue, "queue", queue.inline());
}

fn tls(t: &UpstreamTls) -> String {
    let mut lines = Lines(Vec::new());
    lines.put_some("ca", t.ca.as_deref(), path).put_some("server_name", t.server_name.as_deref(), quoted);
    if let Some((cert, key)) = &t.client {
        lines.put("cert", path(cert)).put("key", path(key));
    }
    lines.put_if(!t.verify, "verify", "false");
    lines.inline()
}

fn sticky(s: &Sticky) -> String {
    let mut lines = Lines(Vec::new());
    lines.put("cookie", quoted(s.cookie.as_str())).put_if(!s.ttl.is_zero(), "ttl", duration(s.ttl)).put_if(
        s.same_site != SameSite::Lax,
        "same_site",
        quoted(s.same_site.as_str()),
    );
    lines.inline()
}

fn outlier(o: &Outlier) -> String {
    let mut lines = Lines(Vec::new());
    lines
        .put("consecutive_errors", o.consecutive_errors.to_string())
        .put("error_rate", percent(o.error_rate))
        .put("min_requests", o.min_requests.to_string())
        .put("window", duration(o.window))
        .put("eject", duration(o.eject))
        .put("max_ejected", percent(o.max_ejected))
        .put_some("latency", o.latency, duration);
    lines.inline()
}
