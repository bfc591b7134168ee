//! Written lists, tables and maps against the kinds their keys declare.

use toml::de::{DeTable, DeValue};

use crate::report::{Problem, Report};
use crate::schema::{Form, Kind};
use crate::source::Span;
use crate::table::Table;
use crate::value::{At, Value, Written, scalar};

/// One entry of a table whose keys are the user's.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: At<String>,
    pub(crate) value: At<Value>,
}

/// Reads a value; what is wrong with it goes to the report.
pub(crate) fn read(
    key: &str,
    kind: &'static Kind,
    span: Span,
    value: &DeValue<'_>,
    report: &mut Report<'_>,
) -> Option<Value> {
    match (kind, value) {
        (Kind::List(of), DeValue::Array(_)) => list(key, of, value, report),
        (Kind::Table(section), DeValue::Table(t)) => Some(Value::Table(Table::read(section, span, t, report))),
        (Kind::Tables(section), DeValue::Array(items)) => Some(Value::Tables(tables(key, section, items, report))),
        (Kind::Expect | Kind::Statuses, DeValue::Array(items)) => expects(key, items, report),
        (Kind::OneOrMany(of), DeValue::Array(_)) => list(key, of, value, report),
        (Kind::OneOrMany(of), _) => {
            let one = read(key, of, span.clone(), value, report)?;
            Some(Value::List(vec![At { span, value: Some(one) }]))
        }
        (Kind::Map { key: name, value: of }, DeValue::Table(t)) => Some(Value::Map(map(key, name, of, t, report))),
        (Kind::BoolOr(section), DeValue::Table(t)) => Some(Value::Table(Table::read(section, span, t, report))),
        _ => scalar(key, kind, Written::of(value)).map_err(|problem| report.error(span, problem)).ok(),
    }
}

fn list(key: &str, of: &'static Kind, value: &DeValue<'_>, report: &mut Report<'_>) -> Option<Value> {
    let DeValue::Array(items) = value else { return None };
    let read =
        |i: &toml::Spanned<DeValue<'_>>| At { span: i.span(), value: read(key, of, i.span(), i.get_ref(), report) };
    Some(Value::List(items.iter().map(read).collect()))
}

fn map(
    key: &str,
    form: &'static Form,
    of: &'static Kind,
    written: &DeTable<'_>,
    report: &mut Report<'_>,
) -> Vec<Field> {
    let mut fields = Vec::new();
    for (name, item) in written {
        let text: &str = name.get_ref();
        if !(form.holds)(text) {
            let problem = Problem::new(format!("each key of {key} must be {}, not '{text}'", form.what));
            report.error(name.span(), problem.hint(format!("for example: {key} = {{ {} = … }}", form.example)));
            continue;
        }
        if let Some(value) = read(text, of, item.span(), item.get_ref(), report) {
            let name = At { span: name.span(), value: text.to_owned() };
            fields.push(Field { name, value: At { span: item.span(), value } });
        }
    }
    fields
}

fn tables(
    key: &str,
    section: &'static crate::schema::Section,
    items: &toml::de::DeArray<'_>,
    report: &mut Report<'_>,
) -> Vec<Table> {
    let mut out = Vec::new();
    for item in items {
        match item.get_ref() {
            DeValue::Table(t) => out.push(Table::read(section, item.span(), t, report)),
            other => {
                let what = Written::of(other).what();
                let example = Kind::Table(section).example();
                let written = report.source.at(&item.span()).to_owned();
                let first = section.keys.first().map_or("", |k| k.name);
                let hint = if what == "text" {
                    format!("write {{ {first} = {written} }}")
                } else {
                    format!("write {example}")
                };
                report
                    .error(item.span(), Problem::new(format!("each of {key} must be a table, not {what}")).hint(hint));
            }
        }
    }
    out
}

fn expects(key: &str, items: &toml::de::DeArray<'_>, report: &mut Report<'_>) -> Option<Value> {
    let mut out = Vec::new();
    for item in items {
        match scalar(key, &Kind::Expect, Written::of(item.get_ref())) {
            Ok(Value::Expect(texts)) => {
                out.extend(texts.into_iter().map(|t| At { span: item.span(), value: t.value }));
            }
            Ok(_) => {}
            Err(problem) => report.error(item.span(), problem),
        }
    }
    Some(Value::Expect(out))
}
