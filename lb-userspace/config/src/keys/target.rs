//! The keys of what answers a route's requests.

use super::form::{FIELD_NAME, FIELD_VALUE, TEMPLATE};
use super::{Absent, Required, number, text};
use crate::schema::{Kind, Section, key};

pub(crate) static SPLIT: Section = Section {
    heading: "split",
    doc: "Each part is an inline table of `[[route]]`: `split = [{ pool = \"a\", weight = 95 }, { pool = \"b\", weight = 5 }]`.",
    keys: &[
        key("pool", Kind::Name, Required, "The pool's name."),
        key("weight", Kind::Integer { min: 0, max: 1_000_000 }, number(1), "Its share of the requests."),
    ],
    later: &[],
};

pub(crate) static REDIRECT: Section = Section {
    heading: "[route.redirect]",
    doc: "Mostly inline: `redirect = { to = \"https://{host}{path}\" }`.",
    keys: &[
        key(
            "to",
            Kind::Text(&TEMPLATE),
            Required,
            "The Location field, literally but for `{host}`, `{path}`, `{query}` and the captures of the match.",
        ),
        key("status", Kind::Integer { min: 300, max: 399 }, number(308), "301, 302, 303, 307 or 308."),
    ],
    later: &[],
};

pub(crate) static RESPOND: Section = Section {
    heading: "[route.respond]",
    doc: "Mostly inline: `respond = { status = 404, body = \"no\" }`.",
    keys: &[
        key("status", Kind::Integer { min: 200, max: 599 }, number(200), "The status."),
        key(
            "body",
            Kind::Text(&TEMPLATE),
            text(""),
            "The body; captures may stand in it as in `redirect`. A brace itself is doubled.",
        ),
        key(
            "headers",
            Kind::Map { key: &FIELD_NAME, value: &Kind::OneOrMany(&Kind::Text(&FIELD_VALUE)) },
            Absent("`{ Content-Type = \"text/plain; charset=utf-8\" }`"),
            "Fields, each with a value or a list of values.",
        ),
    ],
    later: &[],
};

pub(crate) static FILES: Section = Section {
    heading: "[route.files]",
    doc: "Mostly inline: `files = { root = \"/srv/www\" }`. A folder's `index.html` stands for it; dot files and links out of the root are not served.",
    keys: &[key("root", Kind::Path, Required, "The folder that the path, after `rewrite`, is looked up in.")],
    later: &[],
};

pub(crate) static MIRROR: Section = Section {
    heading: "[route.mirror]",
    doc: "Mostly inline: `mirror = { pool = \"shadow\", percent = 10 }`.",
    keys: &[
        key("pool", Kind::Name, Required, "The pool's name."),
        key("percent", Kind::Integer { min: 1, max: 100 }, number(100), "The share of the requests."),
    ],
    later: &[],
};
