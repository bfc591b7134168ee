//! The keys of `[[listener]]`.

use std::time::Duration;

use super::certificate::CERTIFICATE;
use super::{Absent, DAY, Default, HOUR, Required, millis, number, text};
use crate::schema::{Choice, Kind, Literal, Section, choice, key};

pub(crate) static LISTENER: Section = Section {
    heading: "[[listener]]",
    doc: "Where HTTP is spoken, at layer 7. With a `[[listener.certificate]]` below it over TLS, else in clear text. It needs no interface and no privilege but for the port.",
    keys: &[
        key("name", Kind::Name, Required, "Its name: 1 to 63 letters, digits, `-`, `_` and `.`."),
        key("listen", Kind::HttpListen, Required, "`192.0.2.10:443`, `0.0.0.0:80`, `[::]:443`."),
        key(
            "protocols",
            Kind::List(&Kind::Choice(&PROTOCOLS)),
            Absent("over TLS `[\"h1\", \"h2\"]`, in clear text `[\"h1\"]`"),
            "The versions of HTTP spoken.",
        ),
        key(
            "proxy_protocol",
            Kind::Bool,
            Default(Literal::Bool(false)),
            "`true`: a PROXY protocol header (v1 or v2) is expected, from `trusted_proxies` only.",
        ),
        key(
            "trusted_proxies",
            Kind::List(&Kind::Prefix),
            Absent("nobody"),
            "Whose X-Forwarded-*, Forwarded and PROXY headers are believed.",
        ),
        key(
            "client_ca",
            Kind::Path,
            Absent("no client is asked"),
            "Mutual TLS: certificates (PEM) that clients' are verified with.",
        ),
        key(
            "client_auth",
            Kind::Choice(&CLIENT_AUTH),
            Absent("`\"required\"` with `client_ca`"),
            "Whether a client must have a certificate.",
        ),
        key("tls", Kind::Table(&TLS), Absent("all defaults"), "Which TLS is spoken."),
        key(
            "hsts",
            Kind::Duration { min: Duration::ZERO, max: DAY.saturating_mul(3650) },
            text("0s"),
            "How long browsers are told to come by TLS only (Strict-Transport-Security). 0s: they are not told.",
        ),
        key(
            "timeout",
            Kind::Table(&TIMEOUT),
            Absent("all defaults"),
            "How long a client may take; a slow one gets 408.",
        ),
        key("limits", Kind::Table(&LIMITS), Absent("all defaults"), "How much a client may send."),
        key("certificate", Kind::Tables(&CERTIFICATE), Absent("clear text"), "Certificates."),
    ],
    later: &[],
};

static PROTOCOLS: [Choice; 4] = [
    choice("h1", "HTTP/1.1 and 1.0"),
    choice("h2", "HTTP/2 over TLS"),
    choice("h3", "HTTP/3 over QUIC, on the same port's UDP side"),
    choice("h2c", "HTTP/2 in clear text, with prior knowledge"),
];
static CLIENT_AUTH: [Choice; 2] = [
    choice("required", "a client without a certificate is refused in the handshake"),
    choice("optional", "it is asked for one, and served without"),
];

pub(crate) static TIMEOUT: Section = Section {
    heading: "[listener.timeout]",
    doc: "Mostly inline: `timeout = { header = \"5s\" }`.",
    keys: &[
        key(
            "header",
            Kind::Duration { min: millis(10), max: HOUR },
            text("10s"),
            "From the first byte of a request's head to its end.",
        ),
        key("body", Kind::Duration { min: millis(10), max: HOUR }, text("30s"), "Silence within a request's body."),
        key("idle", Kind::Duration { min: millis(10), max: DAY }, text("60s"), "Between the requests of a connection."),
        key("tls", Kind::Duration { min: millis(10), max: HOUR }, text("10s"), "The handshake."),
    ],
    later: &[],
};

pub(crate) static LIMITS: Section = Section {
    heading: "[listener.limits]",
    doc: "Mostly inline: `limits = { header = \"16KiB\" }`.",
    keys: &[
        key("header", Kind::Size { min: 1 << 10, max: 1 << 20 }, text("32KiB"), "A request's head; beyond it 431."),
        key(
            "fields",
            Kind::Integer { min: 1, max: 10_000 },
            number(100),
            "Fields of a request's head; beyond them 431.",
        ),
        key("uri", Kind::Size { min: 64, max: 1 << 20 }, text("8KiB"), "The request's target; beyond it 414."),
        key(
            "streams",
            Kind::Integer { min: 1, max: 10_000 },
            number(100),
            "Requests at once on a connection of HTTP/2 or HTTP/3.",
        ),
        key(
            "requests_per_connection",
            Kind::Integer { min: 0, max: 1 << 40 },
            number(0),
            "Then a connection is closed. 0: no limit.",
        ),
    ],
    later: &[],
};

pub(crate) static TLS: Section = Section {
    heading: "[listener.tls]",
    doc: "Mostly inline: `tls = { min = \"1.3\" }`.",
    keys: &[key("min", Kind::Choice(&VERSIONS), text("1.2"), "The oldest version spoken.")],
    later: &[],
};
static VERSIONS: [Choice; 2] = [choice("1.2", "TLS 1.2 and 1.3"), choice("1.3", "TLS 1.3 alone")];
