//! The keys of `[[service]]`.

use std::time::Duration;

use super::{Absent, DAY, Required, millis, text};
use crate::schema::{Choice, Kind, Section, choice, key, unbuilt};

pub(crate) static SERVICE: Section = Section {
    heading: "[[service]]",
    doc: "An address whose traffic is spread over a pool, at layer 4.",
    keys: &[
        key("name", Kind::Name, Required, "Its name: 1 to 63 letters, digits, `-`, `_` and `.`."),
        key(
            "listen",
            Kind::Listen,
            Required,
            "`192.0.2.10:80/tcp`, `[2001:db8::1]:53/udp`; a range of ports, `5000-5100`, is allowed. `0.0.0.0` and `[::]` need `data_plane = \"userspace\"`.",
        ),
        key("pool", Kind::Name, Required, "The pool's name."),
        key("forward", Kind::Choice(&FORWARDS), text("nat"), "How packets reach the backend."),
        key(
            "affinity",
            Kind::Choice(&AFFINITIES),
            text("none"),
            "Whether a client stays with a backend, whatever the algorithm.",
        ),
        key(
            "affinity_timeout",
            Kind::Duration { min: millis(10), max: DAY.saturating_mul(7) },
            Absent("`idle_timeout`"),
            "How long after a client's last packet.",
        ),
        key(
            "mss_clamp",
            Kind::ChoiceOrInteger { choices: &CLAMPS, min: 88, max: 65_495 },
            text("auto"),
            "Lowers the segment size that TCP's ends offer each other.",
        ),
        key(
            "idle_timeout",
            Kind::Duration { min: millis(10), max: DAY.saturating_mul(7) },
            text("5m"),
            "A flow without packets for so long is forgotten.",
        ),
        key(
            "drain_timeout",
            Kind::Duration { min: Duration::ZERO, max: DAY.saturating_mul(7) },
            text("30s"),
            "How long a draining backend keeps its flows: then UDP is scheduled anew and TCP reset. The longest of all services of the pool counts.",
        ),
        key("allow", Kind::List(&Kind::Prefix), Absent("everybody"), "Source ranges let in."),
        key("deny", Kind::List(&Kind::Prefix), Absent("nobody"), "Source ranges kept out; wins over `allow`."),
        key("rate_limit", Kind::Table(&RATE_LIMIT), Absent("no limit"), "New flows that are let through."),
        key(
            "send_proxy",
            Kind::Choice(&SEND_PROXY),
            Absent("none is sent"),
            "TCP, `data_plane = \"userspace\"`: the PROXY protocol header that tells the backend the client's address.",
        ),
    ],
    later: &[],
};

static FORWARDS: [Choice; 4] = [
    choice("nat", "both addresses are rewritten, replies come back through `lb`"),
    choice("dsr", "only the MAC is; the backend has the address on its loopback and replies directly"),
    unbuilt("ipip", "encapsulated in IP"),
    unbuilt("gue", "encapsulated in UDP"),
];
static AFFINITIES: [Choice; 2] =
    [choice("none", "each flow for itself"), choice("client-ip", "a client's new flows follow its earlier ones")];
static CLAMPS: [Choice; 2] = [choice("auto", "only where encapsulation needs it"), choice("off", "never")];
static SEND_PROXY: [Choice; 2] = [choice("v1", "as text"), choice("v2", "as bytes")];

pub(crate) static RATE_LIMIT: Section = Section {
    heading: "rate_limit",
    doc: "An inline table of `[[service]]`.",
    keys: &[
        key("per", Kind::Choice(&PER), text("client-ip"), "Who is counted by himself."),
        key("new_flows", Kind::Rate, Required, "How many, on average: `100/s`, `20/min`, `5/10s`."),
        key(
            "burst",
            Kind::Integer { min: 1, max: crate::units::Rate::MOST as i64 },
            Absent("as many as `new_flows` names"),
            "How many at once.",
        ),
    ],
    later: &[],
};
static PER: [Choice; 1] = [choice("client-ip", "each client address")];
