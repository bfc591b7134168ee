//! The one declaration of every key: what the parser accepts, the reference prints and editors complete.

mod certificate;
mod exchange;
mod form;
mod health;
mod host;
mod listener;
mod matching;
mod pool;
mod route;
mod service;
mod target;
mod upstream;

use std::time::Duration;

use Need::{Absent, Default, Required};

use crate::schema::{Kind, Later, Literal, Need, Section, key, later};

pub(crate) use host::HOST;

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3600);
const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}
const fn text(t: &'static str) -> Need {
    Default(Literal::Text(t))
}
const fn number(n: i64) -> Need {
    Default(Literal::Integer(n))
}

const GATEWAY: &str = "this version has listeners, routes and pools, and no policies yet";

pub(crate) static ROOT: Section = Section {
    heading: "",
    doc: "",
    keys: &[
        key("host", Kind::Table(&HOST), Absent("all defaults"), "What is fixed while `lb` runs."),
        key("pool", Kind::Tables(&pool::POOL), Absent("none"), "Backends."),
        key(
            "service",
            Kind::Tables(&service::SERVICE),
            Absent("none"),
            "Layer 4: addresses that are balanced over a pool.",
        ),
        key("listener", Kind::Tables(&listener::LISTENER), Absent("none"), "Layer 7: where HTTP is spoken."),
        key("route", Kind::Tables(&route::ROUTE), Absent("none"), "Layer 7: which requests go where."),
    ],
    later: &[
        later("policy", GATEWAY),
        later("consumer", GATEWAY),
        later("api", GATEWAY),
        later("store", GATEWAY),
        later("analytics", GATEWAY),
    ],
};

/// In the order of the reference.
pub(crate) static SECTIONS: [&Section; 29] = [
    &HOST,
    &pool::POOL,
    &pool::BACKEND,
    &health::HEALTH,
    &upstream::TLS,
    &upstream::STICKY,
    &upstream::OUTLIER,
    &upstream::QUEUE,
    &service::SERVICE,
    &service::RATE_LIMIT,
    &listener::LISTENER,
    &listener::TIMEOUT,
    &listener::LIMITS,
    &listener::TLS,
    &certificate::CERTIFICATE,
    &certificate::ACME,
    &route::ROUTE,
    &matching::MATCH,
    &route::REWRITE,
    &target::SPLIT,
    &target::REDIRECT,
    &target::RESPOND,
    &target::FILES,
    &exchange::TIMEOUT,
    &exchange::RETRY,
    &exchange::COMPRESS,
    &exchange::CACHE,
    &exchange::DISK,
    &target::MIRROR,
];

/// Notes on what is refused by name, so that the reference can list it.
pub(crate) fn later_keys() -> impl Iterator<Item = (&'static Section, &'static Later)> {
    std::iter::once(&ROOT).chain(SECTIONS).flat_map(|s| s.later.iter().map(move |l| (s, l)))
}
