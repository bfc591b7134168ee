//! A written table against its section: which keys are there, which are unknown, doubtful or missing.

use std::collections::BTreeMap;

use toml::de::DeTable;

use crate::composite::{self, Field};
use crate::nearest::nearest;
use crate::report::{Problem, Report};
use crate::schema::{Kind, Need, Section};
use crate::source::Span;
use crate::value::{self, At, Value, Written};

#[derive(Clone, Debug)]
pub(crate) struct Table {
    section: &'static Section,
    /// The header, or the braces.
    pub(crate) span: Span,
    entries: BTreeMap<&'static str, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    key: Span,
    span: Span,
    /// `None`: written, but wrong, and reported.
    value: Option<Value>,
}

impl Table {
    pub(crate) fn read(section: &'static Section, span: Span, written: &DeTable<'_>, report: &mut Report<'_>) -> Self {
        let mut entries = BTreeMap::new();
        for (name, item) in written {
            let Some(key) = section.key(name.get_ref()) else {
                report.error(name.span(), unknown(section, name.get_ref()));
                continue;
            };
            let value = composite::read(key.name, &key.kind, item.span(), item.get_ref(), report);
            entries.insert(key.name, Entry { key: name.span(), span: item.span(), value });
        }
        for key in section.keys {
            if matches!(key.need, Need::Required) && !entries.contains_key(key.name) {
                let table = if section.heading.starts_with('[') { section.heading } else { "this table" };
                let problem = Problem::new(format!("{table} has no {}", key.name));
                report.missing(span.clone(), problem.hint(format!("add {} = {}", key.name, key.kind.example())));
            }
        }
        Self { section, span, entries }
    }

    /// Where a key's value stands, or where it would: at the header.
    pub(crate) fn place(&self, key: &str) -> Span {
        self.entries.get(key).map_or_else(|| self.span.clone(), |e| e.span.clone())
    }

    /// Where the key itself stands, if it was written.
    pub(crate) fn key_place(&self, key: &str) -> Option<Span> {
        self.entries.get(key).map(|e| e.key.clone())
    }

    pub(crate) fn is_written(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// A list of nothing was written.
    pub(crate) fn is_empty_list(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|e| matches!(&e.value, Some(Value::List(items)) if items.is_empty()))
    }

    /// The value of a key as written, or its declared default. `None`: absent, or wrong and reported.
    pub(crate) fn get<T: FromValue>(&self, key: &str) -> Option<T> {
        let declared = self.section.key(key);
        debug_assert!(declared.is_some(), "{key} is declared in {}", self.section.heading);
        match self.entries.get(key) {
            Some(entry) => entry.value.clone().and_then(T::from_value),
            None => match &declared?.need {
                Need::Default(literal) => {
                    value::scalar(key, &declared?.kind, Written::from(*literal)).ok().and_then(T::from_value)
                }
                Need::Required | Need::Absent(_) => None,
            },
        }
    }

    /// A table of this one's, or if it is absent or wrong, one with every default.
    pub(crate) fn inner(&self, key: &str, report: &mut Report<'_>) -> Self {
        self.get(key).unwrap_or_else(|| match self.section.key(key).map(|k| &k.kind) {
            Some(Kind::Table(section) | Kind::BoolOr(section)) => {
                Self::read(section, self.place(key), &DeTable::new(), report)
            }
            _ => Self { section: self.section, span: self.place(key), entries: BTreeMap::new() },
        })
    }

    /// A map's fields: none if it is absent.
    pub(crate) fn fields(&self, key: &str) -> Vec<Field> {
        self.get(key).unwrap_or_default()
    }

    /// The same, of a list, without items that were wrong: empty if absent.
    pub(crate) fn list<T: FromValue>(&self, key: &str) -> Vec<At<T>> {
        let items: Vec<At<Option<Value>>> = self.get(key).unwrap_or_default();
        items.into_iter().filter_map(|i| Some(At { span: i.span, value: T::from_value(i.value?)? })).collect()
    }
}

fn unknown(section: &'static Section, name: &str) -> Problem {
    if let Some(later) = section.later.iter().find(|l| l.name == name) {
        let shown = if section.heading.is_empty() { format!("[{name}]") } else { name.to_owned() };
        return Problem::new(format!("{shown} is not built yet")).hint(later.hint);
    }
    let place = match section.heading {
        "" => "at the top level",
        heading if heading.starts_with('[') => &format!("in {heading}"),
        heading => &format!("in {heading} (an inline table)"),
    };
    let problem = Problem::new(format!("unknown key '{name}' {place}"));
    let home = home_of(name).filter(|_| name.len() > 1);
    // Tables' names look like keys of theirs: listener, listen.
    if let (Some(heading), "") = (home, section.heading) {
        return problem.hint(format!("'{name}' belongs in {heading}"));
    }
    if let Some(near) = nearest(name, section.keys.iter().map(|k| k.name)) {
        return problem.hint(format!("did you mean '{near}'?"));
    }
    match home {
        Some(heading) => problem.hint(format!("'{name}' belongs in {heading}")),
        None => {
            problem.hint(format!("known here: {}", section.keys.iter().map(|k| k.name).collect::<Vec<_>>().join(", ")))
        }
    }
}

/// The section that has such a key.
fn home_of(name: &str) -> Option<&'static str> {
    crate::keys::SECTIONS.iter().find(|s| s.key(name).is_some()).map(|s| s.heading)
}

/// What a declared kind turns into.
pub(crate) trait FromValue: Sized {
    fn from_value(value: Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($variant:ident => $type:ty),* $(,)?) => {
        $(impl FromValue for $type {
            fn from_value(value: Value) -> Option<Self> {
                match value {
                    Value::$variant(v) => Some(v),
                    _ => None,
                }
            }
        })*
    };
}

from_value! {
    Name => lb_model::Name,
    Text => String,
    Path => std::path::PathBuf,
    Bool => bool,
    Integer => i64,
    Size => u64,
    Duration => std::time::Duration,
    Percent => u8,
    Choice => &'static str,
    Ip => std::net::IpAddr,
    Socket => std::net::SocketAddr,
    Listen => lb_model::Listen,
    Prefix => lb_model::Prefix,
    Backend => lb_model::BackendAddress,
    Rate => crate::units::Rate,
    Payload => Vec<u8>,
    Expect => Vec<At<String>>,
    List => Vec<At<Option<Value>>>,
    Map => Vec<Field>,
    Table => Table,
    Tables => Vec<Table>,
}

impl FromValue for Value {
    fn from_value(value: Self) -> Option<Self> {
        Some(value)
    }
}

/// Every table kind knows its section; the whole file is the root's.
pub(crate) fn root(written: &DeTable<'_>, report: &mut Report<'_>) -> Table {
    debug_assert!(crate::keys::ROOT.keys.iter().all(|k| matches!(k.kind, Kind::Table(_) | Kind::Tables(_))));
    Table::read(&crate::keys::ROOT, 0..0, written, report)
}
