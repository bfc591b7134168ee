//! The reference for people, printed from the declaration of the keys.

use std::fmt::Write as _;

use crate::keys::{SECTIONS, later_keys};
use crate::schema::{Choice, Key, Kind, Literal, Need, Section};

/// The smallest file worth having, and some more; a test reads it.
pub(crate) const EXAMPLE: &str = r#"[host]
interfaces = ["eth0"]

[[pool]]
name      = "web"
algorithm = "maglev"
backends  = [
  { address = "10.0.0.11:8080" },
  { address = "10.0.0.12:8080", weight = 2 },
]
[pool.health]
type   = "http"
path   = "/healthz"
expect = "200-299"

[[service]]
name   = "web"
listen = "192.0.2.10:80/tcp"
pool   = "web"
"#;

/// The same for layer 7; a test reads it too.
pub(crate) const HTTP_EXAMPLE: &str = r#"[[listener]]
name   = "edge"
listen = "192.0.2.10:443"
[[listener.certificate]]
cert = "certs/site.pem"
key  = "certs/site.key"

[[listener]]
name   = "clear"
listen = "192.0.2.10:80"

[[pool]]
name     = "orders"
backends = [{ address = "10.0.0.11:8080" }, { address = "10.0.0.12:8080" }]

[[route]]
name     = "orders"
listener = "edge"
match    = { host = "api.example.com", path = "/api/v2/*" }
rewrite  = { strip_prefix = "/api/v2" }
pool     = "orders"

[[route]]
name     = "to-https"
listener = "clear"
redirect = { to = "https://{host}{path}" }
"#;

const INTRODUCTION: &str = "\
<!-- Printed from the declaration of the keys; a test compares. -->
# Configuration

`lb run --config lb.toml` reads one TOML file. `lb check` says everything that is wrong with it, each with its place, and `lb reload`
refuses a file with errors whole: the old one stays in force. An unknown key is an error.
";

const NOTATION: &str = "\
## Notation

- Durations: a number and its unit, `500ms`, `2s`, `1m`, `1h`, `1d`; also together, `1h30m`.
- Sizes: a number and its unit, `512B`, `64KiB`, `10MiB`, `1GiB`; without a unit, bytes.
- Rates: `100/s`, `20/min`, `5/10s`.
- Addresses: `10.0.0.1:80`, `[2001:db8::1]:80`. Ranges: `10.0.0.0/8`, `2001:db8::/32`.
- Bytes: text as it stands, or `hex:` and two digits a byte.
- Relative paths begin at the file's directory.
";

/// Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = format!(
        "{INTRODUCTION}\nLayer 4, any TCP or UDP:\n\n```toml\n{EXAMPLE}```\n\nLayer 7, HTTP:\n\n```toml\n{HTTP_EXAMPLE}```\n\n{NOTATION}"
    );
    for section in SECTIONS {
        write_section(&mut out, section);
    }
    write_later(&mut out);
    out
}

fn write_section(out: &mut String, section: &Section) {
    let _ = write!(out, "\n## `{}`\n\n{}\n\n", section.heading, section.doc);
    out.push_str("| Key | Value | Default | Meaning |\n|---|---|---|---|\n");
    for key in section.keys {
        let meaning = [key.doc.to_owned(), words(key)].join(" ");
        let _ = writeln!(out, "| `{}` | {} | {} | {} |", key.name, value(key), default(key), meaning.trim());
    }
}

fn value(key: &Key) -> String {
    match &key.kind {
        Kind::Choice(choices) => named(choices),
        Kind::ChoiceOrInteger { choices, min, max } => format!("{}, or {min} to {max}", named(choices)),
        Kind::Integer { min, max } => format!("{min} to {max}"),
        Kind::Table(_) => "table, see below".into(),
        Kind::BoolOr(_) => "`true`, `false` or a table, see below".into(),
        Kind::Bool => "`true`, `false`".into(),
        Kind::Tables(_) => "list of tables, see below".into(),
        // No path is like another.
        Kind::Path => key.kind.what(),
        Kind::Map { key: name, value } => format!("a table: from {} to {}", name.what, value.what()),
        // A default or the meaning shows what it looks like.
        other if matches!(key.need, Need::Default(_)) || key.doc.contains("`\"") || key.doc.contains("0.0.1") => {
            other.what()
        }
        other => format!("{}: `{}`", other.what(), other.example()),
    }
}

fn named(choices: &[Choice]) -> String {
    let built = choices.iter().filter(|c| c.built);
    built.map(|c| format!("`\"{}\"`", c.name)).collect::<Vec<_>>().join(", ")
}

/// What each word of a choice means.
fn words(key: &Key) -> String {
    let (Kind::Choice(choices) | Kind::ChoiceOrInteger { choices, .. }) = &key.kind else { return String::new() };
    let built = choices.iter().filter(|c| c.built);
    let words: Vec<_> = built.map(|c| format!("`{}`: {}", c.name, c.doc)).collect();
    format!("{}.", words.join("; "))
}

fn default(key: &Key) -> String {
    match key.need {
        Need::Required => "**required**".into(),
        Need::Default(Literal::Text(t)) => format!("`\"{t}\"`"),
        Need::Default(Literal::Integer(n)) => format!("`{n}`"),
        Need::Default(Literal::Bool(b)) => format!("`{b}`"),
        Need::Absent(what) => what.into(),
    }
}

fn write_later(out: &mut String) {
    out.push_str("\n## Not built yet\n\nThese are known, and refused by name.\n\n");
    for (section, later) in later_keys() {
        let place = if section.heading.is_empty() { String::new() } else { format!(" in `{}`", section.heading) };
        let _ = writeln!(out, "- `{}`{place}", later.name);
    }
    for section in SECTIONS {
        for key in section.keys {
            let Kind::Choice(choices) = &key.kind else { continue };
            for c in choices.iter().filter(|c| !c.built) {
                let _ = writeln!(out, "- `{} = \"{}\"` in `{}`: {}", key.name, c.name, section.heading, c.doc);
            }
        }
    }
}
