//! Counts: each worker writes its own shard, readers sum them; names are numbers that live as long as the process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use foldhash::fast::FixedState;
use lb_model::Name;
use lb_model::http::Refusal;

use crate::view::{Histogram, HttpCounters, LATENCY_BUCKETS, ListenerCounters, RequestLabels, RouteCounters};

/// In place of a route or pool where there is none.
pub(crate) const NONE: u32 = u32::MAX;

/// Names → numbers, so that counts live over reloads by name.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    listeners: Mutex<Vec<Name>>,
    routes: Mutex<Vec<Name>>,
    pools: Mutex<Vec<Name>>,
}

fn number(names: &Mutex<Vec<Name>>, name: &Name) -> u32 {
    let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
    let at = names.iter().position(|n| n == name).unwrap_or_else(|| {
        names.push(name.clone());
        names.len() - 1
    });
    u32::try_from(at).unwrap_or(NONE)
}

fn names(of: &Mutex<Vec<Name>>) -> Vec<Name> {
    of.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Ids {
    pub(crate) fn listener(&self, name: &Name) -> u32 {
        number(&self.listeners, name)
    }
    pub(crate) fn route(&self, name: &Name) -> u32 {
        number(&self.routes, name)
    }
    pub(crate) fn pool(&self, name: &Name) -> u32 {
        number(&self.pools, name)
    }
}

type Key = (u32, u32, u32, u16);

/// One worker's counts. The lock is the worker's own but for the moments in which somebody reads.
#[derive(Debug, Default)]
pub(crate) struct Shard(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: HashMap<Key, u64, FixedState>,
    routes: Vec<OfRoute>,
    listeners: Vec<ListenerCounters>,
    refused: Vec<u64>,
}

#[derive(Clone, Debug, Default)]
struct OfRoute {
    seconds: [u64; LATENCY_BUCKETS.len() + 1],
    sum: Duration,
}

/// A request that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub listener: u32,
    pub route: u32,
    pub pool: u32,
    pub status: u16,
    pub took: Duration,
    pub reason: Option<Refusal>,
}

fn at<T: Clone + Default>(list: &mut Vec<T>, index: u32) -> &mut T {
    let index = index as usize;
    if list.len() <= index {
        list.resize(index + 1, T::default());
    }
    &mut list[index]
}

impl Shard {
    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ended(&self, e: &Ended) {
        let mut counts = self.counts();
        *counts.requests.entry((e.listener, e.route, e.pool, e.status)).or_default() += 1;
        at(&mut counts.listeners, e.listener).requests_total += 1;
        if e.route != NONE {
            let micros = u64::try_from(e.took.as_micros()).unwrap_or(u64::MAX);
            let bucket = LATENCY_BUCKETS.iter().position(|b| micros <= *b).unwrap_or(LATENCY_BUCKETS.len());
            let route = at(&mut counts.routes, e.route);
            route.seconds[bucket] += 1;
            route.sum += e.took;
        }
        if let Some(reason) = e.reason {
            *at(&mut counts.refused, reason as u32) += 1;
        }
    }

    pub(crate) fn connection_opened(&self, listener: u32) {
        let mut counts = self.counts();
        let of = at(&mut counts.listeners, listener);
        of.connections += 1;
        of.connections_total += 1;
    }

    pub(crate) fn connection_closed(&self, listener: u32) {
        let mut counts = self.counts();
        let of = at(&mut counts.listeners, listener);
        of.connections = of.connections.saturating_sub(1);
    }

    pub(crate) fn tls_failed(&self, listener: u32) {
        at(&mut self.counts().listeners, listener).tls_failures += 1;
    }

    pub(crate) fn proxy_refused(&self, listener: u32) {
        at(&mut self.counts().listeners, listener).proxy_refused += 1;
    }
}

/// Sums the shards into `out`.
pub(crate) fn sum(shards: &[std::sync::Arc<Shard>], ids: &Ids, out: &mut HttpCounters) {
    let (listeners, routes, pools) = (names(&ids.listeners), names(&ids.routes), names(&ids.pools));
    let text = |list: &[Name], id: u32| list.get(id as usize).map(|n| n.as_str().to_owned()).unwrap_or_default();
    for shard in shards {
        let counts = shard.counts();
        for (&(listener, route, pool, status), n) in &counts.requests {
            let labels = RequestLabels {
                listener: text(&listeners, listener),
                route: text(&routes, route),
                pool: text(&pools, pool),
                status,
            };
            *out.requests.entry(labels).or_default() += n;
            if let Some(name) = routes.get(route as usize) {
                let of: &mut RouteCounters = out.routes.entry(name.clone()).or_default();
                of.requests += n;
                of.errors += if (500..600).contains(&status) { *n } else { 0 };
            }
        }
        for (name, of) in listeners.iter().zip(&counts.listeners) {
            let sum = out.listeners.entry(name.clone()).or_default();
            sum.connections += of.connections;
            sum.connections_total += of.connections_total;
            sum.requests_total += of.requests_total;
            sum.tls_failures += of.tls_failures;
            sum.proxy_refused += of.proxy_refused;
        }
        for (name, of) in routes.iter().zip(&counts.routes) {
            let sum: &mut Histogram = out.route_seconds.entry(name.clone()).or_default();
            sum.counts.resize(LATENCY_BUCKETS.len() + 1, 0);
            for (total, n) in sum.counts.iter_mut().zip(&of.seconds) {
                *total += n;
            }
            sum.sum += of.sum;
        }
        for (refusal, n) in Refusal::ALL.iter().zip(&counts.refused) {
            if *n > 0 {
                *out.refused.entry(refusal.name()).or_default() += n;
            }
        }
    }
}
