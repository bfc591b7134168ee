//! The keys of how a route's requests are dealt with: time-outs, retries, compression, cache.

use std::time::Duration;

use super::form::{FIELD_NAME, MEDIA_TYPE};
use super::{Absent, DAY, HOUR, Required, millis, number, text};
use crate::schema::{Choice, Kind, Section, choice, key};

pub(crate) static TIMEOUT: Section = Section {
    heading: "[route.timeout]",
    doc: "Mostly inline: `timeout = { request = \"5s\" }`.",
    keys: &[
        key(
            "request",
            Kind::Duration { min: millis(1), max: DAY },
            text("30s"),
            "From the request's head to the response's, retries included.",
        ),
        key("idle", Kind::Duration { min: millis(1), max: DAY }, text("60s"), "Silence in a body or tunnel."),
        key("connect", Kind::Duration { min: millis(1), max: HOUR }, text("1s"), "Until a backend has accepted."),
    ],
    later: &[],
};

pub(crate) static RETRY: Section = Section {
    heading: "[route.retry]",
    doc: "Mostly inline: `retry = { attempts = 2 }`. Another backend is tried if none could be connected to, or if one closed before a byte of its answer and the request may be repeated.",
    keys: &[
        key("attempts", Kind::Integer { min: 0, max: 100 }, number(1), "Further tries."),
        key(
            "budget",
            Kind::Percent { max: 100 },
            text("20%"),
            "Retries as a share of the last ten seconds' requests; ten are always allowed.",
        ),
        key("on", Kind::Statuses, Absent("`[]`"), "Statuses that are tried again too: `[\"503\"]`, `\"502-504\"`."),
    ],
    later: &[],
};

pub(crate) static COMPRESS: Section = Section {
    heading: "[route.compress]",
    doc: "Mostly `compress = true`, or inline: `compress = { algorithms = [\"gzip\"] }`.",
    keys: &[
        key(
            "algorithms",
            Kind::List(&Kind::Choice(&CODINGS)),
            Absent("`[\"zstd\", \"br\", \"gzip\"]`"),
            "In the order of preference where the client has none.",
        ),
        key("min_size", Kind::Size { min: 0, max: 1 << 40 }, text("1KiB"), "Smaller bodies stay as they are."),
        key(
            "types",
            Kind::List(&Kind::Text(&MEDIA_TYPE)),
            Absent("texts, JSON, XML, JavaScript, WebAssembly, SVG, fonts that are not compressed"),
            "Media types that are compressed: `[\"text/*\", \"application/json\"]`.",
        ),
    ],
    later: &[],
};
static CODINGS: [Choice; 3] =
    [choice("zstd", "RFC 8878"), choice("br", "Brotli, RFC 7932"), choice("gzip", "RFC 1952")];

pub(crate) static CACHE: Section = Section {
    heading: "[route.cache]",
    doc: "Mostly inline: `cache = { max_size = \"1GiB\" }`.",
    keys: &[
        key("max_size", Kind::Size { min: 1 << 10, max: 1 << 50 }, text("256MiB"), "Memory, heads included."),
        key("max_object", Kind::Size { min: 1, max: 1 << 50 }, text("8MiB"), "Longer bodies are not kept."),
        key(
            "stale_while_revalidate",
            Kind::Duration { min: Duration::ZERO, max: DAY.saturating_mul(365) },
            text("0s"),
            "How long past its time an answer is given while a new one is fetched (RFC 5861), unless it says so itself.",
        ),
        key(
            "stale_if_error",
            Kind::Duration { min: Duration::ZERO, max: DAY.saturating_mul(365) },
            text("0s"),
            "How long past its time an answer is given where the backend fails (RFC 5861), unless it says so itself.",
        ),
        key(
            "tags",
            Kind::Text(&FIELD_NAME),
            text("Cache-Tag"),
            "The response field that lists an answer's tags, for `lb cache purge --tag`.",
        ),
        key("disk", Kind::Table(&DISK), Absent("memory alone"), "Keeps what memory has no room for."),
    ],
    later: &[],
};

pub(crate) static DISK: Section = Section {
    heading: "[route.cache.disk]",
    doc: "Mostly inline: `disk = { path = \"/var/cache/lb\", size = \"10GiB\" }`.",
    keys: &[
        key("path", Kind::Path, Required, "A directory of this route's own."),
        key("size", Kind::Size { min: 1 << 20, max: 1 << 50 }, Required, "What it may hold."),
    ],
    later: &[],
};
