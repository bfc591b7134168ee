//! `lb explain`: the decisions about a flow's first packet, step by step, by the same functions and without consequences.

use std::net::SocketAddr;
use std::sync::Arc;

use lb_common::flow::state;
use lb_common::reason::Reason;
use lb_model::{Algorithm, Protocol};

use super::choose::{self, Newcomer};
use super::engine::{InForce, UserPlane};
use super::live::{LiveBackend, Settings, Standing};
use super::report;
use super::sessions::Key;
use crate::plane::{Explanation, Probe, Step};

pub(super) fn explain(plane: &UserPlane, probe: &Probe) -> Explanation {
    let mut story = Story::new();
    let (client, vip) = (probe.ends.client, probe.ends.vip);
    let Some(entry) = plane.services.values().find(|s| listens(s, vip, probe.protocol)) else {
        story.step("service", "none", format!("no service listens on {vip}/{}", probe.protocol));
        return story.ends(Reason::NotOurs);
    };
    let settings = entry.live.settings();
    story.out.service = Some(entry.live.name.clone());
    story.out.pool = Some(settings.pool.name.clone());
    story.step("service", entry.live.name.to_string(), format!("listens on {}", entry.model.listen));

    let flow = Newcomer { client, vip, protocol: probe.protocol };
    if let Some((backend, status)) = known(plane, &flow) {
        story.step("flow", "known", format!("{status}, held by {backend}"));
        story.out.backend = Some(backend);
        return story.ends(Reason::Forwarded);
    }
    story.step("flow", "new", "no flow between these two addresses");
    if let Err(reason) = admit(plane, entry, &settings, &flow, &mut story) {
        return story.ends(reason);
    }
    select(plane, entry, &settings, &flow, &mut story)
}

fn listens(s: &InForce, vip: SocketAddr, protocol: Protocol) -> bool {
    let l = &s.model.listen;
    let address = l.address == vip.ip() || (l.address.is_unspecified() && l.address.is_ipv4() == vip.is_ipv4());
    l.protocol == protocol && address && l.ports.contains(vip.port())
}

/// The backend of a flow that exists, and how the flow stands.
fn known(plane: &UserPlane, flow: &Newcomer) -> Option<(SocketAddr, &'static str)> {
    plane.workers.iter().find_map(|w| match flow.protocol {
        Protocol::Tcp => {
            let list = w.own.conns.list();
            let found = list.iter().map(|(_, c)| c).find(|c| c.client == flow.client && c.vip == flow.vip)?;
            Some((found.upstream, state::name(found.state())))
        }
        Protocol::Udp => {
            let sessions = w.own.sessions();
            let s = sessions.find(&Key { client: flow.client, vip: flow.vip }).and_then(|id| sessions.get(id))?;
            let stays = matches!(s.held.held.backend.standing(), Standing::Up | Standing::Orphan);
            stays.then(|| (s.held.backend(), report::stage_name(s.stage)))
        }
    })
}

fn admit(
    plane: &UserPlane,
    entry: &InForce,
    settings: &Settings,
    flow: &Newcomer,
    story: &mut Story,
) -> Result<(), Reason> {
    if plane.shared.is_full(flow.protocol) {
        story.step("guard", "drop", format!("all {} flows are taken", plane.shared.capacity()));
        return Err(Reason::FlowTableFull);
    }
    let source = flow.client.ip();
    if !choose::ranges_admit(settings, flow.client) {
        story.step("guard", "drop", format!("{source} is in deny, or not in allow"));
        return Err(Reason::Denied);
    }
    if let Some(limit) = &settings.service.rate_limit
        && !entry.live.rates().would_admit(source.to_canonical(), limit, plane.shared.clock.nanos())
    {
        story.step("guard", "drop", format!("{source} opens flows faster than rate_limit allows"));
        return Err(Reason::RateLimited);
    }
    story.step("guard", "pass", "the source is let in");
    Ok(())
}

fn select(plane: &UserPlane, entry: &InForce, settings: &Settings, flow: &Newcomer, story: &mut Story) -> Explanation {
    let pool = &settings.pool;
    let now = plane.shared.clock.millis();
    let (algorithm, slots) = pool.with_published(|p| (p.picker.algorithm(), p.picker.slots().len()));
    let Some(choice) = choose::select(&entry.live, settings, flow, now, true) else {
        story.step("select", "drop", format!("pool '{}' has no backend that takes new flows", pool.name));
        return story.ends(Reason::NoBackend);
    };
    let backend = choice.backend.address(flow.vip.port());
    let why = match choice.slot {
        _ if choice.by_affinity => format!("{} was given it before, and affinity holds", flow.client.ip()),
        Some(slot) => format!("{algorithm}: slot {slot} of {slots}{}", basis(algorithm)),
        None => algorithm.to_string(),
    };
    story.step("select", backend.to_string(), why);
    story.step("forward", "nat", way(plane, &choice.backend, backend));
    story.out.slot = choice.slot;
    story.out.backend = Some(backend);
    story.ends(Reason::Forwarded)
}

/// What the slot goes by.
fn basis(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Maglev => ", by the hash of the flow",
        Algorithm::SourceHash => ", by the hash of the client's address",
        Algorithm::Random => ", by chance: the next flow may go elsewhere",
        Algorithm::RoundRobin | Algorithm::WeightedRoundRobin => ", whose turn is next",
        Algorithm::LeastConnections => ", whose turn is next, unless another holds fewer flows for its weight",
    }
}

fn way(plane: &UserPlane, chosen: &Arc<LiveBackend>, backend: SocketAddr) -> String {
    let from = plane.shared.source(backend).map_or_else(|| "an address of this host".to_owned(), |a| a.to_string());
    format!("carried by this process from {from} to backend {}", chosen.id.address)
}

/// An explanation being told.
struct Story {
    out: Explanation,
}

impl Story {
    fn new() -> Self {
        let out = Explanation {
            verdict: Reason::NotOurs.verdict(),
            reason: Reason::NotOurs,
            service: None,
            pool: None,
            slot: None,
            backend: None,
            next_hop: None,
            steps: Vec::new(),
        };
        Self { out }
    }

    fn step(&mut self, stage: &'static str, decision: impl Into<String>, why: impl Into<String>) {
        self.out.steps.push(Step { stage, decision: decision.into(), why: why.into() });
    }

    fn ends(&mut self, reason: Reason) -> Explanation {
        self.out.verdict = reason.verdict();
        self.out.reason = reason;
        self.out.clone()
    }
}
