//! Passes over the flow tables: when one is due, and what is done with its census.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use aya::maps::PerCpuValues;
use lb_common::backend::{Backend, Load};
use lb_common::reason::REASON_SLOTS;
use lb_common::service::{Service, Traffic};

use super::census::{Census, Drift, active};
use super::clock;
use super::publish::Publisher;
use super::sweep::Sweep;

/// A pass is followed by a pause of so many times its own work, within these bounds.
const REST: u32 = 20;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub struct Passes {
    sweep: Sweep,
    /// Of the last complete pass.
    pub last: Census,
    drift: Drift,
    /// How things stood when the pass under way began.
    begun: Option<Begun>,
    due: Option<Instant>,
    worked: Duration,
}

#[derive(Debug)]
struct Begun {
    /// Numbers that were retired.
    services: BTreeSet<u32>,
    backends: BTreeSet<u32>,
    loads: HashMap<u32, Load>,
}

impl Begun {
    fn now(p: &Publisher) -> Self {
        let books = &p.books;
        let load = |n| p.maps.loads.get(&n, 0).ok().map(|l| (n, l));
        Self {
            services: books.services.retired().map(|(_, n)| n).collect(),
            backends: books.backends.retired().map(|(_, n)| n).collect(),
            loads: books.backends.live().chain(books.backends.retired()).filter_map(|(_, n)| load(n)).collect(),
        }
    }
}

impl Passes {
    /// Works for about `budget`, if a pass is due or under way.
    pub fn work(&mut self, p: &mut Publisher, now: Instant, budget: Duration) {
        if self.begun.is_none() {
            if self.due.is_some_and(|d| now < d) {
                return;
            }
            self.begun = Some(Begun::now(p));
        }
        let began = clock::precise();
        loop {
            let done = self.sweep.slice(&mut p.maps, clock::ticks(), &p.values);
            let spent = Duration::from_nanos(clock::precise().saturating_sub(began));
            if let Some(census) = done {
                self.worked += spent;
                self.finish(p, census);
                self.due = Some(now + (self.worked * REST).clamp(SHORTEST, LONGEST));
                self.worked = Duration::ZERO;
                return;
            }
            if spent >= budget {
                self.worked += spent;
                return;
            }
        }
    }

    fn finish(&mut self, p: &mut Publisher, census: Census) {
        if let Some(begun) = self.begun.take() {
            for (n, load) in begun.loads {
                self.correct(p, n, load, census.counted.of(n));
            }
            for n in begun.services.into_iter().filter(|n| census.of_service.of(*n) == 0) {
                free_service(p, n);
            }
            for n in begun.backends.into_iter().filter(|n| census.of_backend.of(*n) == 0) {
                free_backend(p, n);
            }
        }
        self.last = census;
    }

    /// Counts that were lost (two CPUs, or a flow that the tables lost) are put right in the user half's own counter.
    fn correct(&mut self, p: &mut Publisher, backend: u32, before: Load, counted: u64) {
        let (Ok(load), Ok(reaped)) = (p.maps.loads.get(&backend, 0), p.maps.reaped.get(&backend, 0)) else {
            return;
        };
        let churn = load.opened.wrapping_sub(before.opened) + load.closed.wrapping_sub(before.closed);
        let add = self.drift.correction(backend, active(load, reaped), counted, churn);
        let corrected = reaped.saturating_add_signed(add);
        if corrected != reaped {
            tracing::debug!(backend, by = add, "corrected the count of active flows");
            if let Err(e) = p.maps.reaped.set(backend, corrected, 0) {
                tracing::warn!(backend, error = %e, "the count of active flows could not be corrected");
            }
        }
    }
}

/// Nothing refers to a retired service any more: its counters begin anew with the next that gets the number.
fn free_service(p: &mut Publisher, n: u32) {
    if p.books.services.is_live(n) {
        return;
    }
    let mut ok = p.maps.service.set(n, Service::default(), 0).is_ok();
    ok &= per_cpu(Traffic::default()).is_some_and(|zero| p.maps.service_traffic.set(n, zero, 0).is_ok());
    for reason in 0..REASON_SLOTS {
        ok &= per_cpu(0u64).is_some_and(|zero| p.maps.verdicts.set(n * REASON_SLOTS + reason, zero, 0).is_ok());
    }
    if ok {
        p.books.services.free(n);
        p.books_changed = true;
    }
}

fn free_backend(p: &mut Publisher, n: u32) {
    if p.books.backends.is_live(n) {
        return;
    }
    let mut ok = p.maps.backends.set(n, Backend::default(), 0).is_ok();
    ok &= p.maps.loads.set(n, Load::default(), 0).is_ok();
    ok &= p.maps.reaped.set(n, 0, 0).is_ok();
    ok &= per_cpu(Traffic::default()).is_some_and(|zero| p.maps.backend_traffic.set(n, zero, 0).is_ok());
    if ok {
        p.books.backends.free(n);
        p.books_changed = true;
    }
}

fn per_cpu<T: aya::Pod>(value: T) -> Option<PerCpuValues<T>> {
    let cpus = aya::util::nr_cpus().ok()?;
    PerCpuValues::try_from(vec![value; cpus]).ok()
}
