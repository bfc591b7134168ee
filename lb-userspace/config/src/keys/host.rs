//! The keys of `[host]`.

use std::time::Duration;

use super::{Absent, DAY, number, text};
use crate::schema::{Choice, Form, Kind, Section, choice, key};

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
        key(
            "access_log",
            Kind::Path,
            text("stdout"),
            "Where a line for each request goes: `stdout`, `off`, or a file, which `lb reload` and SIGHUP reopen.",
        ),
        key("access_log_format", Kind::Choice(&LOG_FORMATS), text("json"), "How a line looks."),
        key(
            "access_log_sample",
            Kind::Percent { max: 100 },
            text("100%"),
            "The share of the requests that get a line.",
        ),
        key(
            "shutdown_timeout",
            Kind::Duration { min: Duration::ZERO, max: DAY },
            text("30s"),
            "How long requests in flight and tunnels may take once `lb` is told to end, or another one takes over.",
        ),
    ],
    later: &[],
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
static LOG_FORMATS: [Choice; 2] =
    [choice("json", "one JSON object a line"), choice("combined", "Apache's combined format")];
static ON_EXIT: [Choice; 2] = [
    choice("keep", "it goes on forwarding; `lb detach` takes it off"),
    choice("detach", "everything is taken off the interfaces"),
];
