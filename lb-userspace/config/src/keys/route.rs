//! The keys of `[[route]]`.

use super::exchange::{CACHE, COMPRESS, RETRY, TIMEOUT};
use super::form::{ESCAPE, HOST, PREFIX, STATUS, TEMPLATE, UPGRADE};
use super::matching::MATCH;
use super::target::{FILES, MIRROR, REDIRECT, RESPOND, SPLIT};
use super::{Absent, Required, text};
use crate::schema::{Kind, Section, key, later};

pub(crate) static ROUTE: Section = Section {
    heading: "[[route]]",
    doc: "Which requests of a listener go where. A route has exactly one of `pool`, `split`, `redirect`, `respond`, `files`.",
    keys: &[
        key("name", Kind::Name, Required, "Its name: 1 to 63 letters, digits, `-`, `_` and `.`."),
        key(
            "listener",
            Kind::OneOrMany(&Kind::Name),
            Absent("every listener"),
            "The listener's name, or a list of them.",
        ),
        key("match", Kind::Table(&MATCH), Absent("every request"), "Which requests it is for."),
        key(
            "rewrite",
            Kind::Table(&REWRITE),
            Absent("as sent, in normal form"),
            "What is changed before the backend sees it.",
        ),
        key("pool", Kind::Name, Absent("another target"), "The pool whose backends answer."),
        key("split", Kind::Tables(&SPLIT), Absent("another target"), "Several pools, by weight."),
        key("redirect", Kind::Table(&REDIRECT), Absent("another target"), "The client is sent elsewhere."),
        key("respond", Kind::Table(&RESPOND), Absent("another target"), "`lb` answers itself."),
        key("files", Kind::Table(&FILES), Absent("another target"), "Files of this host."),
        key("timeout", Kind::Table(&TIMEOUT), Absent("all defaults"), "How long a backend may take; then 504."),
        key("retry", Kind::Table(&RETRY), Absent("all defaults"), "When another backend is tried."),
        key(
            "max_body",
            Kind::Size { min: 0, max: 1 << 50 },
            text("10MiB"),
            "A request's body; beyond it 413. 0: no limit.",
        ),
        key(
            "compress",
            Kind::BoolOr(&COMPRESS),
            Absent("`false`"),
            "Whether answers are compressed for clients that ask. `true`: zstd, br and gzip, for types that gain.",
        ),
        key(
            "cache",
            Kind::Table(&CACHE),
            Absent("nothing is kept"),
            "Keeps answers as RFC 9111 allows. `cache = {}` has every default.",
        ),
        key(
            "mirror",
            Kind::Table(&MIRROR),
            Absent("none"),
            "Sends a copy of requests to another pool and drops its answers.",
        ),
        key(
            "errors",
            Kind::Map { key: &STATUS, value: &Kind::Path },
            Absent("a problem document"),
            "`{ 503 = \"sorry.html\" }`: pages that stand in for refusals and for backends' errors.",
        ),
        key(
            "upgrade",
            Kind::List(&Kind::Text(&UPGRADE)),
            Absent("`[\"websocket\"]`"),
            "Protocols that a connection may be upgraded to. `[]`: none.",
        ),
        key(
            "path_unsafe",
            Kind::List(&Kind::Text(&ESCAPE)),
            Absent("`[]`: all of them get 400"),
            "Escapes that servers read in different ways, and that are let through: `%00`, `%2f`, `%5c`.",
        ),
    ],
    later: &[later("use", "policies come with a later version; leave it out")],
};

pub(crate) static REWRITE: Section = Section {
    heading: "[route.rewrite]",
    doc: "At most one of `strip_prefix`, `replace_prefix`, `path`; the query stays. Mostly inline: `rewrite = { strip_prefix = \"/api\" }`.",
    keys: &[
        key(
            "strip_prefix",
            Kind::Text(&PREFIX),
            Absent("nothing"),
            "Whole segments taken off the path's beginning; at least `/` is left.",
        ),
        key("replace_prefix", Kind::Text(&PREFIX), Absent("nothing"), "Stands where the route's prefix matched."),
        key(
            "path",
            Kind::Text(&TEMPLATE),
            Absent("nothing"),
            "The whole path; `{id}` of the match, `{host}`, `{path}`, `{query}` may stand in it.",
        ),
        key("host", Kind::Text(&HOST), Absent("as sent"), "The Host field."),
    ],
    later: &[],
};
