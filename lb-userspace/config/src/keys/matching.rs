//! The keys of `[route.match]`.

use super::Absent;
use super::form::{
    COOKIE_NAME, COOKIE_VALUE, FIELD_NAME, FIELD_VALUE, HOST, METHOD, PARAMETER, PARAMETER_VALUE, URL_PATH,
};
use crate::schema::{Kind, Section, key};

pub(crate) static MATCH: Section = Section {
    heading: "[route.match]",
    doc: "Which requests a route is for: all that is named must hold. Mostly inline: `match = { host = \"a.example.com\", path = \"/api/*\" }`. \
          The most specific host wins, then an exact path, then a pattern with more literal bytes, then the longest prefix, then methods, the number of `headers`, of `query`, of `cookies`, `source`, then the order in the file.",
    keys: &[
        key(
            "host",
            Kind::OneOrMany(&Kind::Text(&HOST)),
            Absent("every host"),
            "The request's host, without port: `api.example.com`, or `*.example.com` for one or more labels before it, but not the name itself.",
        ),
        key(
            "path",
            Kind::Text(&URL_PATH),
            Absent("every path"),
            "`/a`: this path; `/a/*`: `/a` and all below it; `/users/{id}`: a pattern, each `{name}` one segment that is not empty; `/users/{id}/*`: and all below it.",
        ),
        key("methods", Kind::OneOrMany(&Kind::Text(&METHOD)), Absent("every method"), "`[\"GET\", \"POST\"]`."),
        key(
            "headers",
            Kind::Map { key: &FIELD_NAME, value: &Kind::Text(&FIELD_VALUE) },
            Absent("any"),
            "`{ \"X-Beta\" = \"1\" }`: the exact value, or `\"*\"`: there, also empty.",
        ),
        key(
            "query",
            Kind::Map { key: &PARAMETER, value: &Kind::Text(&PARAMETER_VALUE) },
            Absent("any"),
            "`{ debug = \"*\" }`: likewise, decoded; the first of a repeated parameter counts.",
        ),
        key(
            "cookies",
            Kind::Map { key: &COOKIE_NAME, value: &Kind::Text(&COOKIE_VALUE) },
            Absent("any"),
            "`{ beta = \"*\" }`: likewise.",
        ),
        key("source", Kind::OneOrMany(&Kind::Prefix), Absent("everybody"), "Ranges the client's address is in."),
    ],
    later: &[],
};
