//! A pool as it is now: one immutable value with its members and tables, replaced whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use lb_balance::{Load, RequestPicker, Seat};

use crate::backend::{Backend, Ticket};
use crate::clock;
use crate::link::Link;
use crate::plan::PoolPlan;
use crate::ramp;

/// What a member is, beside what the plan says of it.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) backend: Arc<Backend>,
    /// Eligible by the plan and not ejected.
    pub(crate) takes: bool,
    /// When its slow start began.
    pub(crate) ramp: Option<Instant>,
}

/// What it is built from.
pub(crate) struct Parts {
    pub(crate) plan: Arc<PoolPlan>,
    pub(crate) link: Arc<Link>,
    pub(crate) members: Vec<Member>,
    pub(crate) tokens: Arc<HashMap<String, u32>>,
    /// When the first ejection ends.
    pub(crate) next: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) plan: Arc<PoolPlan>,
    pub(crate) link: Arc<Link>,
    pub(crate) members: Vec<Member>,
    primary: RequestPicker,
    backup: RequestPicker,
    /// Sticky tokens, and the members they stand for.
    pub(crate) tokens: Arc<HashMap<String, u32>>,
    /// In ticks: when an ejection or a step of a slow start ends.
    pub(crate) next_change: u64,
}

impl Published {
    pub(crate) fn build(parts: Parts, now: Instant) -> Self {
        let Parts { plan, link, members, tokens, mut next } = parts;
        let slow = plan.http.slow_start;
        let ramping = !slow.is_zero() && members.iter().any(|m| m.takes && ramps(m, slow, now));
        let round_robin = plan.http.algorithm == lb_model::http::HttpAlgorithm::RoundRobin;
        let mut seats = |backup: bool| -> Vec<Seat> {
            let seat = |(m, p): (&Member, &crate::plan::MemberPlan)| {
                let mut weight = if m.takes && p.backup == backup { p.weight } else { 0 };
                if ramping {
                    // Where weights do not matter, a slow start still does.
                    let full = if round_robin { weight.min(1) } else { weight };
                    let (w, due) =
                        m.ramp.map_or((full * ramp::SCALE, None), |since| ramp::weight(full, since, slow, now));
                    weight = w;
                    next = next.into_iter().chain(due).min();
                }
                Seat { address: p.address, weight }
            };
            members.iter().zip(&plan.members).map(seat).collect()
        };
        let (primary, backup) = (seats(false), seats(true));
        let table = |seats: &[Seat]| RequestPicker::new(plan.http.algorithm, plan.maglev_table_size, seats, !ramping);
        let (primary, backup) = (table(&primary), table(&backup));
        Self { plan, link, members, primary, backup, tokens, next_change: next.map_or(u64::MAX, clock::ticks) }
    }

    /// Whom a request that hashes so goes to. Backups only while no other member is open.
    pub(crate) fn pick(&self, hash: u32, view: &View<'_>) -> Option<u32> {
        self.primary.pick(hash, view).or_else(|| self.backup.pick(hash, view))
    }

    pub(crate) fn has_candidates(&self) -> bool {
        !self.primary.candidates().is_empty() || !self.backup.candidates().is_empty()
    }

    /// The table that decides now: the backups' only while no other member takes requests.
    pub(crate) fn deciding(&self) -> &RequestPicker {
        if self.primary.candidates().is_empty() { &self.backup } else { &self.primary }
    }

    pub(crate) fn enter(&self, member: u32) -> Option<Ticket> {
        self.members.get(member as usize)?.backend.enter(self.plan.http.max_requests)
    }

    /// The member of a sticky token, if it still takes requests.
    pub(crate) fn of_token(&self, token: &str) -> Option<u32> {
        let index = *self.tokens.get(token)?;
        self.members.get(index as usize).filter(|m| m.takes).map(|_| index)
    }

    pub(crate) fn token_of(&self, member: u32) -> Option<&str> {
        self.tokens.iter().find(|(_, m)| **m == member).map(|(token, _)| token.as_str())
    }
}

fn ramps(member: &Member, length: std::time::Duration, now: Instant) -> bool {
    member.ramp.is_some_and(|since| now.saturating_duration_since(since) < length)
}

/// The pool's state as one request sees it.
pub(crate) struct View<'a> {
    pub(crate) published: &'a Published,
    pub(crate) turn: &'a AtomicU64,
    pub(crate) random: u32,
    /// In ticks.
    pub(crate) now: u64,
    /// Ids of backends that were tried for this request.
    pub(crate) tried: &'a [u32],
}

impl View<'_> {
    fn backend(&self, member: u32) -> Option<&Backend> {
        self.published.members.get(member as usize).map(|m| &*m.backend)
    }
}

impl Load for View<'_> {
    fn turn(&self) -> u64 {
        // A further try takes no turn of its own: else a pool of two with one out of reach would never begin with the
        // other.
        if self.tried.is_empty() { self.turn.fetch_add(1, Relaxed) } else { self.turn.load(Relaxed) }
    }
    fn random(&self) -> u32 {
        self.random
    }
    fn active(&self, member: u32) -> u64 {
        self.backend(member).map_or(0, Backend::active)
    }
    fn latency(&self, member: u32) -> u64 {
        self.backend(member).map_or(0, |b| b.latency(self.now))
    }
    fn open(&self, member: u32) -> bool {
        let most = u64::from(self.published.plan.http.max_requests);
        self.backend(member).is_some_and(|b| (most == 0 || b.active() < most) && !self.tried.contains(&b.id))
    }
}
