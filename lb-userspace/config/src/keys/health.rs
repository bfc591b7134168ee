//! The keys of `[pool.health]`.

use super::{Absent, HOUR, millis, number, text};
use crate::schema::{Choice, Form, Kind, Section, choice, key, unbuilt};

pub(crate) static HEALTH: Section = Section {
    heading: "[pool.health]",
    doc: "How a backend's health is asked for; it belongs to the `[[pool]]` above it. A backend in several pools with the same check is asked once.",
    keys: &[
        key("type", Kind::Choice(&HEALTH_TYPES), text("tcp"), "What is asked."),
        key("path", Kind::Text(&HTTP_PATH), text("/"), "`http`, `https`: the path asked for."),
        key("host", Kind::Text(&HTTP_HOST), Absent("the backend's address"), "`http`, `https`: the Host field."),
        key(
            "service",
            Kind::Text(&GRPC_SERVICE),
            text(""),
            "`grpc`: the service asked about; empty: the server as a whole.",
        ),
        key("send", Kind::Payload, text(""), "`udp`: what is sent, as text, or as bytes: `hex:0a0b`."),
        key(
            "expect",
            Kind::Expect,
            Absent("`http`, `https`: 200-299; `udp`: any answer"),
            "`http`, `https`: statuses that are healthy, `\"200-299\"`, `\"200,204\"` or a list; `udp`: what the answer begins with.",
        ),
        key("interval", Kind::Duration { min: millis(10), max: HOUR }, text("2s"), "From one question to the next."),
        key("timeout", Kind::Duration { min: millis(1), max: HOUR }, text("1s"), "How long an answer may take."),
        key("rise", Kind::Integer { min: 1, max: 1000 }, number(2), "Successes in a row that make a backend healthy."),
        key("fall", Kind::Integer { min: 1, max: 1000 }, number(3), "Failures in a row that make it unhealthy."),
        key(
            "jitter",
            Kind::Percent { max: 50 },
            text("10%"),
            "How far a question may be moved, at random, in parts of `interval`.",
        ),
        key("port", Kind::Integer { min: 1, max: 65_535 }, Absent("the backend's own"), "Another port to ask."),
    ],
    later: &[],
};

static HEALTH_TYPES: [Choice; 6] = [
    choice("tcp", "a connection is accepted"),
    choice("http", "a request is answered with an expected status"),
    choice("udp", "a datagram is answered as expected"),
    choice("https", "the same over TLS, as the pool's `tls` says"),
    choice("grpc", "`grpc.health.v1.Health/Check` is answered `SERVING`; over TLS if the pool has `tls`"),
    unbuilt("icmp", "an echo request"),
];

fn visible(s: &str) -> bool {
    !s.is_empty() && s.chars().all(|c| c.is_ascii_graphic())
}
static HTTP_PATH: Form = Form {
    what: "a path that begins with a slash, without spaces",
    example: "/healthz",
    holds: |s| s.starts_with('/') && visible(s) && !s.contains('#'),
    pattern: r"^/[!-~]*$",
};
static HTTP_HOST: Form = Form {
    what: "a host name, without spaces or slashes",
    example: "www.example.com",
    holds: |s| visible(s) && !s.contains('/'),
    pattern: r"^[!-.0-~]+$",
};
static GRPC_SERVICE: Form = Form {
    what: "a gRPC service's name",
    example: "shop.Orders",
    holds: |s| s.len() <= 255 && s.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c)),
    pattern: r"^[A-Za-z0-9._/-]*$",
};
