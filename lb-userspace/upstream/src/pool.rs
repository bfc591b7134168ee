//! A pool that routes hold on to, whatever is published for it: kept up to date, and asked for places.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};
use lb_balance::request::{of_bytes, of_client};
use lb_model::http::{HashOn, HttpPool};
use lb_model::{BackendAddress, Name};

use crate::backend::{Backend, Ticket};
use crate::clock;
use crate::link::Link;
use crate::outlier::most_ejected;
use crate::plan::{MemberPlan, MemberState, PoolPlan};
use crate::published::{Member, Parts, Published, View};
use crate::queue::Waiting;
use crate::sticky;
use crate::upstreams::Ask;

pub(crate) type Identity = (BackendAddress, SocketAddr);

/// Stable over reloads while a pool of that name exists.
#[derive(Debug)]
pub struct PoolHandle {
    name: Name,
    published: ArcSwap<Published>,
    pub(crate) waiting: Arc<Waiting>,
    turn: AtomicU64,
    ledger: Mutex<Ledger>,
}

/// What outlives what is published.
#[derive(Debug, Default)]
struct Ledger {
    backends: HashMap<Identity, Arc<Backend>>,
    /// Counts of addresses that are gone, by the configured address they were resolved from.
    retired: HashMap<BackendAddress, Totals>,
    /// A plan was in force before: members that come now come to a running pool.
    running: bool,
}

/// Counts that never fall.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) active: u64,
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    pub(crate) cut: u64,
    pub(crate) statuses: HashMap<u16, u64>,
}

impl Totals {
    fn add(&mut self, b: &Backend) {
        self.active += b.active();
        self.requests += b.requests.load(Relaxed);
        self.bytes += b.bytes.load(Relaxed);
        self.cut += b.cut.load(Relaxed);
        b.statuses().for_each(|(status, n)| *self.statuses.entry(status).or_default() += n);
    }
}

/// A place at a backend for one request.
pub(crate) struct Chosen {
    pub(crate) ticket: Ticket,
    /// To be set as a cookie: the client was not known here.
    pub(crate) token: Option<String>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Nobody takes requests.
    Nobody,
    /// All that do were tried for this request.
    AllTried,
    Full,
}

impl PoolHandle {
    pub(crate) fn new(name: Name) -> Self {
        let plan =
            PoolPlan { name: name.clone(), http: HttpPool::default(), maglev_table_size: 3, members: Vec::new() };
        let parts = Parts {
            plan: Arc::new(plan),
            link: Arc::new(Link::plain()),
            members: Vec::new(),
            tokens: Arc::default(),
            next: None,
        };
        Self {
            name,
            published: ArcSwap::from_pointee(Published::build(parts, clock::now())),
            waiting: Arc::new(Waiting::default()),
            turn: AtomicU64::new(0),
            ledger: Mutex::new(Ledger::default()),
        }
    }

    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn link(&self) -> Arc<Link> {
        Arc::clone(&self.published.load().link)
    }

    /// Puts a plan in force.
    pub(crate) fn install(&self, plan: Arc<PoolPlan>, link: Arc<Link>, key: &[u8; 32], now: Instant) {
        let mut ledger = self.ledger();
        let old = self.published.load_full();
        if ledger.running && old.link.id == link.id && *old.plan == *plan {
            return;
        }
        let took = |b: &Arc<Backend>| old.members.iter().find(|m| m.backend.id == b.id).map(|m| (m.takes, m.ramp));
        let mut members = Vec::with_capacity(plan.members.len());
        for p in &plan.members {
            let identity = (p.configured.clone(), p.address);
            let backend =
                Arc::clone(ledger.backends.entry(identity).or_insert_with(|| {
                    Arc::new(Backend::new(p.configured.clone(), p.address, Arc::clone(&self.waiting)))
                }));
            backend.set_condition(p.state);
            if plan.http.outlier.is_none() {
                backend.detector().forget();
            }
            let ramp = match took(&backend) {
                Some((true, ramp)) => ramp,
                _ if ledger.running && p.eligible => Some(now),
                _ => None,
            };
            members.push(Member { backend, takes: p.eligible, ramp });
        }
        ledger.running = true;
        ledger.retire(&plan);
        let tokens = tokens(&plan, key);
        self.publish(plan, link, members, tokens, now);
        drop(ledger);
        self.waiting.wake_all();
    }

    /// The pool is gone: what is in flight goes on, nobody gets anything new.
    pub(crate) fn dismiss(&self) {
        for backend in self.ledger().backends.values() {
            backend.set_condition(MemberState::Draining);
        }
    }

    fn publish(
        &self,
        plan: Arc<PoolPlan>,
        link: Arc<Link>,
        mut members: Vec<Member>,
        tokens: Arc<HashMap<String, u32>>,
        now: Instant,
    ) {
        self.waiting.clear_stale();
        let next = eject(&plan, &mut members, now);
        self.published.store(Arc::new(Published::build(Parts { plan, link, members, tokens, next }, now)));
    }

    /// What is published, brought up to date if an ejection or a step of a slow start is due.
    pub(crate) fn current(&self, now: Instant, ticks: u64) -> Guard<Arc<Published>> {
        let published = self.published.load();
        if ticks < published.next_change && !self.waiting.is_stale() {
            return published;
        }
        drop(published);
        self.refresh(now, ticks);
        self.published.load()
    }

    fn refresh(&self, now: Instant, ticks: u64) {
        let ledger = self.ledger();
        let old = self.published.load_full();
        if ticks < old.next_change && !self.waiting.is_stale() {
            return;
        }
        let members = old.members.iter().zip(&old.plan.members).map(|(m, p)| {
            let back = p.eligible && !m.takes && m.backend.detector().ejection(now).is_none();
            Member { takes: p.eligible, ramp: if back { Some(now) } else { m.ramp }, ..m.clone() }
        });
        self.publish(Arc::clone(&old.plan), Arc::clone(&old.link), members.collect(), Arc::clone(&old.tokens), now);
        drop(ledger);
        self.waiting.wake_all();
    }

    /// A place for this request, never at one of those `tried`.
    pub(crate) fn choose(&self, ask: &Chooser<'_>, now: Instant, tried: &[u32]) -> Result<Chosen, Refused> {
        let ticks = clock::ticks(now);
        let p = self.current(now, ticks);
        let sticky = p.plan.http.sticky.is_some();
        let known = ask.token.filter(|_| sticky).and_then(|t| p.of_token(t));
        let known = known.filter(|m| p.members.get(*m as usize).is_some_and(|m| !tried.contains(&m.backend.id)));
        if let Some(member) = known
            && let Some(ticket) = p.enter(member)
        {
            return Ok(Chosen { ticket, token: None });
        }
        let view = View { published: &p, turn: &self.turn, random: ask.random, now: ticks, tried };
        // A place may be taken by another worker between the look and the step; it is full then for the next look.
        for _ in 0..=p.members.len() {
            let Some(member) = p.pick(ask.hash, &view) else { break };
            if let Some(ticket) = p.enter(member) {
                // Known but full: the client keeps its cookie and comes back.
                let token = (sticky && known.is_none()).then(|| p.token_of(member).map(str::to_owned)).flatten();
                return Ok(Chosen { ticket, token });
            }
        }
        let untried = |m: &Member| m.takes && !tried.contains(&m.backend.id);
        Err(match p.members.iter().any(untried) {
            _ if !p.has_candidates() => Refused::Nobody,
            true => Refused::Full,
            false => Refused::AllTried,
        })
    }

    /// The hash of what `hash_on` names; the client's where the request has none.
    pub(crate) fn hash(&self, http: &HttpPool, ask: &Ask<'_>) -> u32 {
        let client = || of_client(ask.client);
        match &http.hash_on {
            HashOn::ClientIp => client(),
            HashOn::Path => of_bytes(ask.path.as_bytes()),
            HashOn::Header(name) => ask.headers.get(name).map_or_else(client, |v| of_bytes(v.as_bytes())),
            HashOn::Cookie(name) => sticky::find(ask.headers, name).map_or_else(client, |v| of_bytes(v.as_bytes())),
        }
    }

    /// Counts by configured address.
    pub(crate) fn totals(&self) -> HashMap<BackendAddress, Totals> {
        let ledger = self.ledger();
        let mut all = ledger.retired.clone();
        ledger.backends.values().for_each(|b| all.entry(b.configured.clone()).or_default().add(b));
        all
    }
}

/// What a choice goes by, taken from a request once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chooser<'a> {
    pub(crate) hash: u32,
    pub(crate) random: u32,
    /// The sticky cookie's value.
    pub(crate) token: Option<&'a str>,
}

impl Ledger {
    /// Lets go of backends that the plan no longer has and that nothing is in flight at; their counts stay as long as
    /// the address they were resolved from is configured.
    fn retire(&mut self, plan: &PoolPlan) {
        let planned = |id: &Identity| plan.members.iter().any(|p| p.configured == id.0 && p.address == id.1);
        let configured = |a: &BackendAddress| plan.members.iter().any(|p| p.configured == *a);
        let Self { backends, retired, .. } = self;
        backends.retain(|id, backend| {
            if planned(id) {
                return true;
            }
            if backend.condition() != MemberState::Expired {
                backend.set_condition(MemberState::Draining);
            }
            if backend.active() > 0 {
                return true;
            }
            retired.entry(id.0.clone()).or_default().add(backend);
            false
        });
        retired.retain(|address, _| configured(address));
    }
}

fn tokens(plan: &PoolPlan, key: &[u8; 32]) -> Arc<HashMap<String, u32>> {
    if plan.http.sticky.is_none() {
        return Arc::default();
    }
    let who = |p: &MemberPlan| format!("{} {}", p.configured, p.address);
    Arc::new((0u32..).zip(&plan.members).map(|(i, p)| (sticky::token(key, &plan.name, &who(p)), i)).collect())
}

/// Takes the ejected out, decides over those that should be, and says when the first comes back. The share that may be
/// ejected is one of those that would take requests, so that the rule never adds to what health checks have left.
fn eject(plan: &PoolPlan, members: &mut [Member], now: Instant) -> Option<Instant> {
    let rule = plan.http.outlier.as_ref()?;
    let able = || plan.members.iter().filter(|p| p.eligible).count();
    let out = |(m, p): (&Member, &MemberPlan)| p.eligible && m.backend.detector().ejection(now).is_some();
    let most = most_ejected(able(), rule.max_ejected);
    let mut ejected = members.iter().zip(&plan.members).filter(|pair| out(*pair)).count();
    let mut next: Option<Instant> = None;
    for (member, p) in members.iter_mut().zip(&plan.members) {
        let mut detector = member.backend.detector();
        if detector.wishes() && detector.decide(p.eligible && ejected < most, rule, now).is_some() {
            ejected += 1;
        }
        if let Some(ejection) = detector.ejection(now) {
            member.takes = false;
            next = Some(next.map_or(ejection.until, |n| n.min(ejection.until)));
        }
    }
    next
}
