//! The one declaration of every key: what the parser accepts, the reference prints and editors complete.

use std::time::Duration;

use Need::{Absent, Default, Required};

use crate::schema::{Choice, Form, Kind, Later, Literal, Need, Section, choice, key, later, unbuilt};

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

const LAYER_7: &str = "this version balances layer 4: [[service]] and [[pool]]";

pub(crate) static ROOT: Section = Section {
    heading: "",
    doc: "",
    keys: &[
        key("host", Kind::Table(&HOST), Absent("all defaults"), "What is fixed while `lb` runs."),
        key("pool", Kind::Tables(&POOL), Absent("none"), "Backends."),
        key("service", Kind::Tables(&SERVICE), Absent("none"), "Addresses that are balanced over a pool."),
    ],
    later: &[
        later("listener", LAYER_7),
        later("route", LAYER_7),
        later("policy", LAYER_7),
        later("consumer", LAYER_7),
        later("api", LAYER_7),
        later("store", LAYER_7),
        later("analytics", LAYER_7),
    ],
};

pub(crate) static HOST: Section = Section {
    heading: "[host]",
    doc: "What is settled when `lb` starts: a reload that finds one of these changed says that it needs a restart.",
    keys: &[
        key(
            "interfaces",
            Kind::List(&Kind::Text(&INTERFACE)),
            Absent("the engine's choice, shown by `lb status`"),
            "Where the XDP program attaches; more than one is normal.",
        ),
        key(
            "data_plane",
            Kind::Choice(&PLANES),
            text("auto"),
            "Which engine forwards. Only `auto` falls back; any other that cannot be had ends `lb run` with status 1.",
        ),
        key(
            "state_dir",
            Kind::Path,
            Absent("`$STATE_DIRECTORY`, else `/var/lib/lb`; for an ordinary user `$XDG_STATE_HOME/lb`"),
            "Where changes made by command are kept. They override what the file says of the same thing until undone.",
        ),
        key(
            "flow_table_size",
            Kind::Integer { min: 16, max: 134_217_728 },
            number(1_000_000),
            "Flows that can be held at once. Their memory is reserved at the start and shown by `lb status`.",
        ),
        key("on_exit", Kind::Choice(&ON_EXIT), text("keep"), "What becomes of the fast path when `lb run` ends."),
        key(
            "socket",
            Kind::Path,
            Absent("`/run/lb/lb.sock`; for an ordinary user `$XDG_RUNTIME_DIR/lb.sock`"),
            "The control socket, mode 0660.",
        ),
        key("pin_dir", Kind::Path, text("/sys/fs/bpf/lb"), "Where maps, programs and links are pinned."),
        key("metrics", Kind::Socket, Absent("no metrics"), "Where Prometheus finds `/metrics`."),
        key("snat_addresses", Kind::List(&Kind::Ip), Absent("the interface's own"), "Source addresses of `nat`."),
    ],
    later: &[
        later("access_log", LAYER_7),
        later("access_log_format", LAYER_7),
        later("access_log_sample", LAYER_7),
        later("shutdown_timeout", LAYER_7),
    ],
};

static INTERFACE: Form = Form {
    what: "an interface's name (1 to 15 characters, no space, no slash)",
    example: "eth0",
    // dev_valid_name() in the kernel's net/core/dev.c.
    holds: |s| {
        (1..16).contains(&s.len())
            && s != "."
            && s != ".."
            && !s.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/' || c == ':')
    },
    pattern: r"^[^\s/:]{1,15}$",
};

static PLANES: [Choice; 4] = [
    choice("auto", "XDP in the driver, else generic XDP, else userspace"),
    choice("xdp", "XDP in the driver"),
    choice("xdp-generic", "XDP in the kernel's network stack, on any interface"),
    choice("userspace", "sockets, without any privilege"),
];
static ON_EXIT: [Choice; 2] = [
    choice("keep", "it goes on forwarding; `lb detach` takes it off"),
    choice("detach", "everything is taken off the interfaces"),
];

pub(crate) static POOL: Section = Section {
    heading: "[[pool]]",
    doc: "Backends, how one is chosen for a new flow, and how their health is asked for.",
    keys: &[
        key("name", Kind::Name, Required, "Its name: 1 to 63 letters, digits, `-`, `_` and `.`."),
        key(
            "algorithm",
            Kind::Choice(&ALGORITHMS),
            text("maglev"),
            "How a backend is chosen. `round-robin` ignores weights, every other honours them.",
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
    ],
    later: &[
        later("protocol", LAYER_7),
        later("tls", LAYER_7),
        later("sticky", "layer 4 holds a client to a backend with [[service]] affinity = \"client-ip\""),
        later("outlier", "layer 4 asks for health: [pool.health]"),
        later("drain_timeout", "layer 4 has it in [[service]]: drain_timeout"),
        later("slow_start", LAYER_7),
        later("max_requests", LAYER_7),
        later("queue", LAYER_7),
        later("hash_on", "layer 4 hashes the client's address and ports (maglev) or its address (source-hash)"),
    ],
};

static ALGORITHMS: [Choice; 8] = [
    choice("maglev", "consistent, by the flow's addresses and ports"),
    choice("source-hash", "consistent, by the client's address"),
    choice("round-robin", "in turn"),
    choice("weighted-round-robin", "in turn, smoothly by weight"),
    choice("least-connections", "the one with the fewest flows for its weight"),
    choice("random", "by chance"),
    unbuilt("p2c", "of two by chance the better"),
    unbuilt("ring-hash", "consistent, on a ring"),
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
    ],
    later: &[later("backup", LAYER_7)],
};

pub(crate) static HEALTH: Section = Section {
    heading: "[pool.health]",
    doc: "How a backend's health is asked for; it belongs to the `[[pool]]` above it. A backend in several pools with the same check is asked once.",
    keys: &[
        key("type", Kind::Choice(&HEALTH_TYPES), text("tcp"), "What is asked."),
        key("path", Kind::Text(&HTTP_PATH), text("/"), "`http`: the path asked for."),
        key("host", Kind::Text(&HTTP_HOST), Absent("the backend's address"), "`http`: the Host field."),
        key("send", Kind::Payload, text(""), "`udp`: what is sent, as text, or as bytes: `hex:0a0b`."),
        key(
            "expect",
            Kind::Expect,
            Absent("`http`: 200-299; `udp`: any answer"),
            "`http`: statuses that are healthy, `\"200-299\"`, `\"200,204\"` or a list; `udp`: what the answer begins with.",
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
    unbuilt("https", "an HTTP request over TLS"),
    unbuilt("grpc", "the gRPC health protocol"),
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

/// In the order of the reference.
pub(crate) static SECTIONS: [&Section; 6] = [&HOST, &POOL, &BACKEND, &HEALTH, &SERVICE, &RATE_LIMIT];

/// Notes on what is refused by name, so that the reference can list it.
pub(crate) fn later_keys() -> impl Iterator<Item = (&'static Section, &'static Later)> {
    std::iter::once(&ROOT).chain(SECTIONS).flat_map(|s| s.later.iter().map(move |l| (s, l)))
}
