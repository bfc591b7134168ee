//! May a new flow in, and which backend takes it: the decisions that TCP, UDP and `explain` share.

use std::net::SocketAddr;
use std::sync::Arc;

use lb_balance::Ask;
use lb_common::reason::Reason;
use lb_model::Protocol;

use super::clock::Clock;
use super::live::{Around, LiveBackend, LiveService, Published, Settings, Standing};

/// Is the source let in by `allow` and `deny`?
pub(crate) fn ranges_admit(settings: &Settings, client: SocketAddr) -> bool {
    let s = &settings.service;
    if s.allow.is_empty() && s.deny.is_empty() {
        return true;
    }
    let ip = client.ip().to_canonical();
    !s.deny.iter().any(|p| p.contains(ip)) && (s.allow.is_empty() || s.allow.iter().any(|p| p.contains(ip)))
}

/// The guard's decision about a new flow, its rate counted.
pub(crate) fn guard(
    service: &LiveService,
    settings: &Settings,
    client: SocketAddr,
    clock: &Clock,
) -> Result<(), Reason> {
    if !ranges_admit(settings, client) {
        return Err(Reason::Denied);
    }
    match &settings.service.rate_limit {
        Some(limit) if !service.rates().admit(client.ip().to_canonical(), limit, clock.nanos()) => {
            Err(Reason::RateLimited)
        }
        _ => Ok(()),
    }
}

/// A backend and how it came to be chosen.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) backend: Arc<LiveBackend>,
    /// `None`: by affinity, or as a replacement.
    pub(crate) slot: Option<u32>,
    pub(crate) by_affinity: bool,
}

/// A flow that wants a backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newcomer {
    pub(crate) client: SocketAddr,
    pub(crate) vip: SocketAddr,
    pub(crate) protocol: Protocol,
}

/// The backend for a new flow, which its client's later flows follow where the service asks for it. `peek`: only asks,
/// as `explain` does.
pub(crate) fn select(
    service: &LiveService,
    settings: &Settings,
    flow: &Newcomer,
    now: u32,
    peek: bool,
) -> Option<Choice> {
    let Some(timeout) = settings.affinity else {
        return settings.pool.with_published(|p| pick(settings, p, flow, peek));
    };
    // Held from the question to the answer: two flows of a new client, seen by two workers, go the same way.
    let mut affinities = service.affinities();
    let client = flow.client.ip();
    let choice = settings.pool.with_published(|p| {
        let held = affinities.get(client, now, timeout).filter(|b| takes_flows(p, b));
        let follow = |backend| Choice { backend, slot: None, by_affinity: true };
        held.map(follow).or_else(|| pick(settings, p, flow, peek))
    })?;
    if !peek {
        affinities.set(client, &choice.backend, now, timeout);
    }
    Some(choice)
}

fn pick(settings: &Settings, p: &Published, flow: &Newcomer, peek: bool) -> Option<Choice> {
    let ask = Ask::new(flow.client, flow.vip, flow.protocol);
    let pick = p.picker.pick(&ask, &Around { pool: &settings.pool, backends: &p.backends, peek })?;
    let backend = p.backends.get(pick.member as usize)?.clone();
    Some(Choice { backend, slot: Some(pick.slot), by_affinity: false })
}

/// Does the backend take new flows, in the pool as it is now?
fn takes_flows(p: &Published, backend: &Arc<LiveBackend>) -> bool {
    let mut candidates = p.picker.candidates().iter().filter_map(|&c| p.backends.get(c as usize));
    candidates.any(|b| Arc::ptr_eq(b, backend))
}

/// Another backend for a flow whose first choice did not take it: for a hash the next slots that it would have come to
/// by hashing again, then whoever is left.
pub(crate) fn reselect(settings: &Settings, flow: &Newcomer, tried: &[Arc<LiveBackend>]) -> Option<Choice> {
    settings.pool.with_published(|p| {
        let around = Around { pool: &settings.pool, backends: &p.backends, peek: false };
        let fresh = |b: &&Arc<LiveBackend>| {
            b.standing() == Standing::Up && !tried.iter().any(|t| t.ip == b.ip && t.port == b.port)
        };
        let mut ask = Ask::new(flow.client, flow.vip, flow.protocol);
        for _ in 0..8 {
            ask.flow = ask.flow.wrapping_add(0x9e37_79b9);
            ask.client = ask.client.wrapping_add(0x9e37_79b9);
            let pick = p.picker.pick(&ask, &around)?;
            if let Some(backend) = p.backends.get(pick.member as usize).filter(fresh) {
                return Some(Choice { backend: backend.clone(), slot: Some(pick.slot), by_affinity: false });
            }
        }
        let rest = p.picker.candidates().iter().filter_map(|&c| p.backends.get(c as usize));
        rest.into_iter().find(fresh).map(|b| Choice { backend: b.clone(), slot: None, by_affinity: false })
    })
}

/// Remembers that the client was given another backend than [`select`] said, where the service asks for it.
pub(crate) fn remember(
    service: &LiveService,
    settings: &Settings,
    flow: &Newcomer,
    choice: &Arc<LiveBackend>,
    now: u32,
) {
    if let Some(timeout) = settings.affinity {
        service.affinities().set(flow.client.ip(), choice, now, timeout);
    }
}
