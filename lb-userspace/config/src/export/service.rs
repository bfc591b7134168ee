//! `[[service]]` as a file has it.

use lb_model::{Affinity, Forward, MssClamp, SendProxy, Service};

use super::{Lines, duration, list, quoted};
use crate::units::Rate;

pub(super) fn write(out: &mut String, s: &Service) {
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
        lines.put("send_proxy", quoted(if version == SendProxy::V1 { "v1" } else { "v2" }));
    }
    lines.write(out, "[[service]]");
}
