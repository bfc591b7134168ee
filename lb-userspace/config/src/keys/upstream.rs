//! The keys of `[[pool]]` that only layer 7 reads.

use std::time::Duration;

use super::form::{COOKIE_NAME, is_token};
use super::{Absent, DAY, Default, HOUR, Required, millis, number, text};
use crate::schema::{Choice, Form, Kind, Literal, Section, choice, key};

pub(crate) static PROTOCOLS: [Choice; 3] = [
    choice("h1", "HTTP/1.1"),
    choice("h2", "HTTP/2 over TLS; needs `tls`"),
    choice("h2c", "HTTP/2 in clear text, with prior knowledge"),
];

pub(crate) static HASH_ON: Form = Form {
    what: "client-ip, path, header:NAME or cookie:NAME",
    example: "header:X-User",
    holds: |s| {
        let name = s.strip_prefix("header:").or_else(|| s.strip_prefix("cookie:"));
        s == "client-ip" || s == "path" || name.is_some_and(is_token)
    },
    pattern: "^(client-ip|path|(header|cookie):.+)$",
};

pub(crate) static TLS: Section = Section {
    heading: "[pool.tls]",
    doc: "How the backends are spoken to over TLS; mostly inline: `tls = { ca = \"ca.pem\" }`.",
    keys: &[
        key("ca", Kind::Path, Absent("the system's roots"), "Certificates (PEM) that the backends' are verified with."),
        key(
            "server_name",
            Kind::Text(&SERVER_NAME),
            Absent("the backend's host name or address"),
            "The name asked for, and verified.",
        ),
        key("cert", Kind::Path, Absent("none is shown"), "The certificate (PEM) shown to backends; with `key`."),
        key("key", Kind::Path, Absent("none"), "Its key (PEM)."),
        key(
            "verify",
            Kind::Bool,
            Default(Literal::Bool(true)),
            "`false`: any certificate will do, so anybody can be the backend.",
        ),
    ],
    later: &[],
};

static SERVER_NAME: Form = Form {
    what: "a host name or an address",
    example: "web.internal",
    holds: |s| {
        s.parse::<std::net::IpAddr>().is_ok()
            || matches!(s.parse(), Ok(lb_model::BackendAddress::Host { port: None, .. }))
    },
    pattern: "^[A-Za-z0-9.:_-]+$",
};

pub(crate) static STICKY: Section = Section {
    heading: "[pool.sticky]",
    doc: "A signed cookie that keeps a client at its backend while that can serve.",
    keys: &[
        key("cookie", Kind::Text(&COOKIE_NAME), Required, "The cookie's name."),
        key(
            "ttl",
            Kind::Duration { min: Duration::ZERO, max: DAY.saturating_mul(400) },
            text("0s"),
            "How long a browser keeps it. 0s: until the browser ends.",
        ),
        key("same_site", Kind::Choice(&SAME_SITE), text("Lax"), "The cookie's SameSite attribute."),
    ],
    later: &[],
};
static SAME_SITE: [Choice; 3] = [
    choice("Lax", "sent when a link from another site is followed"),
    choice("Strict", "sent from the same site only"),
    choice("None", "sent from every site, over TLS only"),
];

pub(crate) static OUTLIER: Section = Section {
    heading: "[pool.outlier]",
    doc: "When a backend is ejected by what its answers say: 5xx, resets and time-outs are errors. It is shown as `unhealthy` meanwhile.",
    keys: &[
        key(
            "consecutive_errors",
            Kind::Integer { min: 0, max: 1_000_000 },
            number(5),
            "So many in a row eject. 0: not looked at.",
        ),
        key(
            "error_rate",
            Kind::Percent { max: 100 },
            text("50%"),
            "Such a share of the window's requests ejects. 0%: not looked at.",
        ),
        key(
            "min_requests",
            Kind::Integer { min: 1, max: 1_000_000 },
            number(20),
            "With fewer requests in the window the rate says nothing.",
        ),
        key("window", Kind::Duration { min: millis(100), max: HOUR }, text("10s"), "Over how long it is looked."),
        key("eject", Kind::Duration { min: millis(10), max: DAY }, text("30s"), "For how long a backend is ejected."),
        key(
            "max_ejected",
            Kind::Percent { max: 100 },
            text("50%"),
            "The share of the pool that may be ejected at once.",
        ),
        key(
            "latency",
            Kind::Duration { min: millis(1), max: HOUR },
            Absent("not looked at"),
            "A mean time to answer above this, over the window, ejects.",
        ),
    ],
    later: &[],
};

pub(crate) static QUEUE: Section = Section {
    heading: "[pool.queue]",
    doc: "Requests that wait while every backend has `max_requests` in flight.",
    keys: &[
        key("size", Kind::Integer { min: 0, max: 1_000_000 }, number(0), "How many may wait; further ones get 503."),
        key(
            "timeout",
            Kind::Duration { min: millis(1), max: HOUR },
            text("1s"),
            "How long one may wait; then it gets 503.",
        ),
    ],
    later: &[],
};
