//! The terms in which keys are declared: sections, keys, and the kinds of value they take.

use std::time::Duration;

/// A table of the file.
#[derive(Debug)]
pub(crate) struct Section {
    /// As written in the file, `[[pool]]`.
    pub(crate) heading: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) keys: &'static [Key],
    /// Keys of the contract that this version refuses by name.
    pub(crate) later: &'static [Later],
}

#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) need: Need,
    pub(crate) doc: &'static str,
}

#[derive(Debug)]
pub(crate) enum Need {
    Required,
    /// The value it has unless written, as TOML would have it.
    Default(Literal),
    /// May be absent; what is done then, in words.
    Absent(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Literal {
    Text(&'static str),
    Integer(i64),
    Bool(bool),
}

/// Known, and not built yet.
#[derive(Debug)]
pub(crate) struct Later {
    pub(crate) name: &'static str,
    pub(crate) hint: &'static str,
}

/// One word of a choice.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) built: bool,
}

/// A text of a certain form.
#[derive(Debug)]
pub(crate) struct Form {
    /// "an interface's name".
    pub(crate) what: &'static str,
    pub(crate) example: &'static str,
    pub(crate) holds: fn(&str) -> bool,
    /// The same as a regular expression, for editors.
    pub(crate) pattern: &'static str,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Name,
    Text(&'static Form),
    Path,
    Bool,
    Integer {
        min: i64,
        max: i64,
    },
    /// Bytes.
    Size {
        min: u64,
        max: u64,
    },
    Duration {
        min: Duration,
        max: Duration,
    },
    Percent {
        max: u8,
    },
    Choice(&'static [Choice]),
    /// One of the words, or a number.
    ChoiceOrInteger {
        choices: &'static [Choice],
        min: i64,
        max: i64,
    },
    Ip,
    Socket,
    Listen,
    /// Of layer 7: one address, one port.
    HttpListen,
    Prefix,
    Backend,
    Rate,
    Payload,
    /// Statuses or a payload; which, another key decides.
    Expect,
    Statuses,
    List(&'static Self),
    /// A value, or a list of them.
    OneOrMany(&'static Self),
    /// A table whose keys are the user's.
    Map {
        key: &'static Form,
        value: &'static Self,
    },
    /// `true`: all defaults; `false`: as if absent.
    BoolOr(&'static Section),
    Table(&'static Section),
    Tables(&'static Section),
}

impl Section {
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|k| k.name == name)
    }

    /// Its first key, as an inline table.
    fn example(&self) -> String {
        self.keys.first().map_or_else(String::new, |k| format!("{{ {} = {} }}", k.name, k.kind.example()))
    }
}

pub(crate) const fn key(name: &'static str, kind: Kind, need: Need, doc: &'static str) -> Key {
    Key { name, kind, need, doc }
}

pub(crate) const fn later(name: &'static str, hint: &'static str) -> Later {
    Later { name, hint }
}

pub(crate) const fn choice(name: &'static str, doc: &'static str) -> Choice {
    Choice { name, doc, built: true }
}

pub(crate) const fn unbuilt(name: &'static str, doc: &'static str) -> Choice {
    Choice { name, doc, built: false }
}

/// "a, b or c" of what is built.
pub(crate) fn listed(choices: &[Choice]) -> String {
    let names: Vec<String> = choices.iter().filter(|c| c.built).map(|c| format!("\"{}\"", c.name)).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

impl Kind {
    /// What a value is, to follow "is" or "must be".
    pub(crate) fn what(&self) -> String {
        let duration = |d: &Duration| crate::units::Duration(*d).to_string();
        match self {
            Self::Name => "a name".into(),
            Self::Text(form) => form.what.into(),
            Self::Path => "a path".into(),
            Self::Bool => "true or false".into(),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Size { .. } => "a size".into(),
            Self::Duration { min, max } => format!("a duration from {} to {}", duration(min), duration(max)),
            Self::Percent { max } => format!("a percentage from 0% to {max}%"),
            Self::Choice(choices) => listed(choices),
            Self::ChoiceOrInteger { choices, min, max } => {
                format!("{}, or a whole number from {min} to {max}", listed(choices))
            }
            Self::Ip => "an IPv4 or IPv6 address".into(),
            Self::Socket => "an address and a port".into(),
            Self::Listen => "an address, a port or a range of ports, and a protocol".into(),
            Self::HttpListen => "an address and a port".into(),
            Self::Prefix => "a range of addresses".into(),
            Self::Backend => "an address or host name, and a port".into(),
            Self::Rate => "a rate".into(),
            Self::Payload => "text, or bytes after hex:".into(),
            Self::Expect => "statuses (http), or text or bytes after hex: (udp)".into(),
            Self::Statuses => "statuses".into(),
            Self::List(of) => format!("a list, each {}", of.what()),
            Self::OneOrMany(of) => format!("{}, or a list of such", of.what()),
            Self::Map { key, value } => format!("a table from {} to {}", key.what, value.what()),
            Self::BoolOr(section) => format!("true, false or a table ({})", section.heading),
            Self::Table(section) => format!("a table ({})", section.heading),
            Self::Tables(section) => format!("a list of tables ({})", section.heading),
        }
    }

    /// A value that would do.
    pub(crate) fn example(&self) -> String {
        match self {
            Self::Name => "\"web\"".into(),
            Self::Text(form) => format!("\"{}\"", form.example),
            Self::Path => "\"path/to/it\"".into(),
            Self::Bool | Self::BoolOr(_) => "true".into(),
            Self::Integer { min, .. } => min.to_string(),
            Self::Size { .. } => "\"64KiB\"".into(),
            Self::Duration { .. } => "\"2s\"".into(),
            Self::Percent { .. } => "\"10%\"".into(),
            Self::Choice(choices) | Self::ChoiceOrInteger { choices, .. } => format!("\"{}\"", choices[0].name),
            Self::Ip => "\"192.0.2.10\"".into(),
            Self::Socket => "\"127.0.0.1:9901\"".into(),
            Self::Listen => "\"192.0.2.10:80/tcp\"".into(),
            Self::HttpListen => "\"192.0.2.10:443\"".into(),
            Self::Prefix => "\"10.0.0.0/8\"".into(),
            Self::Backend => "\"10.0.0.11:8080\"".into(),
            Self::Rate => "\"100/s\"".into(),
            Self::Payload => "\"ping\"".into(),
            Self::Expect => "\"200-299\"".into(),
            Self::Statuses => "[\"503\"]".into(),
            Self::OneOrMany(of) => of.example(),
            Self::Map { key, value } => format!("{{ {} = {} }}", key.example, value.example()),
            Self::List(of) => format!("[{}]", of.example()),
            Self::Table(section) => section.example(),
            Self::Tables(section) => format!("[{}]", section.example()),
        }
    }
}
