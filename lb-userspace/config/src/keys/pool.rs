//! The keys of `[[pool]]` and of its backends.

use std::time::Duration;

use super::health::HEALTH;
use super::upstream::{HASH_ON, OUTLIER, PROTOCOLS, QUEUE, STICKY, TLS};
use super::{Absent, DAY, Default, Required, number, text};
use crate::schema::{Choice, Kind, Literal, Section, choice, key};

pub(crate) static POOL: Section = Section {
    heading: "[[pool]]",
    doc: "Backends, how one is chosen for a new flow or request, and how their health is asked for.",
    keys: &[
        key("name", Kind::Name, Required, "Its name: 1 to 63 letters, digits, `-`, `_` and `.`."),
        key(
            "algorithm",
            Kind::Choice(&ALGORITHMS),
            Absent("for a `[[service]]` `maglev`, for a `[[route]]` `p2c`"),
            "How a backend is chosen, for a flow or a request. `round-robin` ignores weights, every other honours them.",
        ),
        key(
            "backends",
            Kind::Tables(&BACKEND),
            Required,
            "At most 1,024. An empty list is legal: packets are then dropped as `no_backend`.",
        ),
        key(
            "maglev_table_size",
            Kind::Integer { min: 3, max: 16_777_213 },
            number(65_537),
            "Slots of the consistent table, a prime; at least 100 times the number of backends spreads evenly.",
        ),
        key("on_all_down", Kind::Choice(&ON_ALL_DOWN), text("drop"), "What new flows get when no backend is healthy."),
        key("health", Kind::Table(&HEALTH), Absent("backends are taken to be healthy"), "How health is asked for."),
        key(
            "hash_on",
            Kind::Text(&HASH_ON),
            text("client-ip"),
            "Layer 7: what a consistent algorithm hashes: `client-ip`, `header:NAME`, `cookie:NAME` or `path`.",
        ),
        key(
            "protocol",
            Kind::Choice(&PROTOCOLS),
            text("h1"),
            "Layer 7: how the backends are spoken to. gRPC needs HTTP/2.",
        ),
        key(
            "tls",
            Kind::Table(&TLS),
            Absent("clear text"),
            "Layer 7, and checks of type `https` and `grpc`: TLS to the backends. `tls = {}` verifies them with the system's roots.",
        ),
        key(
            "sticky",
            Kind::Table(&STICKY),
            Absent("each request for itself"),
            "Layer 7: a cookie that keeps a client at its backend.",
        ),
        key(
            "outlier",
            Kind::Table(&OUTLIER),
            Absent("nobody is ejected"),
            "Layer 7: backends are ejected by what their answers say. `outlier = {}` has every default.",
        ),
        key(
            "drain_timeout",
            Kind::Duration { min: Duration::ZERO, max: DAY.saturating_mul(7) },
            text("30s"),
            "Layer 7: how long requests and tunnels of a draining backend may go on. Layer 4's stands in `[[service]]`.",
        ),
        key(
            "slow_start",
            Kind::Duration { min: Duration::ZERO, max: DAY },
            text("0s"),
            "Layer 7: over how long a new or recovered backend comes to its full share.",
        ),
        key(
            "max_requests",
            Kind::Integer { min: 0, max: 1_000_000 },
            number(0),
            "Layer 7: requests in flight per backend. 0: no limit.",
        ),
        key(
            "queue",
            Kind::Table(&QUEUE),
            Absent("nothing waits"),
            "Layer 7: requests that wait while every backend has `max_requests` in flight.",
        ),
    ],
    later: &[],
};

static ALGORITHMS: [Choice; 8] = [
    choice("maglev", "consistent, by the flow's addresses and ports; at layer 7 by `hash_on`"),
    choice("source-hash", "consistent, by the client's address"),
    choice("round-robin", "in turn"),
    choice("weighted-round-robin", "in turn, smoothly by weight"),
    choice("least-connections", "the one with the fewest flows for its weight"),
    choice("random", "by chance"),
    choice("p2c", "layer 7 only: of two by chance the one with the lower latency and fewer requests in flight"),
    choice("ring-hash", "layer 7 only: consistent, on a ring"),
];
static ON_ALL_DOWN: [Choice; 2] =
    [choice("drop", "none: they are dropped as `no_backend`"), choice("spread", "any of them, as if all were healthy")];

pub(crate) static BACKEND: Section = Section {
    heading: "backends",
    doc: "Each backend is an inline table.",
    keys: &[
        key(
            "address",
            Kind::Backend,
            Required,
            "`10.0.0.11:8080`, `[2001:db8::1]:80` or `name.example:80`; a name is resolved anew on its DNS TTL. For services with a range of ports, without port.",
        ),
        key(
            "weight",
            Kind::Integer { min: 0, max: lb_common::pool::MAX_WEIGHT as i64 },
            number(1),
            "Its share. 0: no new flows, while the backend stays active.",
        ),
        key(
            "backup",
            Kind::Bool,
            Default(Literal::Bool(false)),
            "Layer 7: gets requests only while no other backend can.",
        ),
    ],
    later: &[],
};
