//! `[route.match]`.

use http::{HeaderName, Method};
use lb_model::Prefix;
use lb_model::http::{HostPattern, Match, UnsafeEscape, ValueMatch};

use super::{host_name, path};
use crate::report::{Problem, Report};
use crate::source::Span;
use crate::table::Table;
use crate::value::{At, Value};

pub(super) fn read(table: &Table, allowed: &[UnsafeEscape], report: &mut Report<'_>) -> Option<Match> {
    let hosts = hosts(table, report);
    let path = match table.get::<String>("path").map(|text| path::pattern(&text, allowed)) {
        Some(Ok(pattern)) => Some(Some(pattern)),
        Some(Err(problem)) => {
            report.error(table.place("path"), problem);
            None
        }
        None => Some(None),
    };
    let methods = methods(table, report);
    for key in ["host", "methods", "source"] {
        if table.is_empty_list(key) {
            let problem =
                Problem::new(format!("an empty {key} would match nothing, or everything: it is not clear which"));
            report.error(table.place(key), problem.hint("leave it out for everything"));
        }
    }
    Some(Match {
        hosts: hosts?,
        path: path?,
        methods: methods?,
        headers: headers(table, report),
        query: values(table, "query"),
        cookies: values(table, "cookies"),
        source: table.list::<Prefix>("source").into_iter().map(|p| p.value).collect(),
    })
}

fn hosts(table: &Table, report: &mut Report<'_>) -> Option<Vec<HostPattern>> {
    let mut hosts = Vec::new();
    let mut good = true;
    for At { span, value } in table.list::<String>("host") {
        match host_name::pattern(&value) {
            Ok(host) if hosts.contains(&host) => {
                let problem = Problem::new(format!("the host '{host}' is here a second time"));
                report.error(place(table, "host", span), problem.hint("keep one of them"));
                good = false;
            }
            Ok(host) => hosts.push(host),
            Err(problem) => {
                report.error(place(table, "host", span), problem);
                good = false;
            }
        }
    }
    good.then_some(hosts)
}

/// Its own, or the key's value where it has none.
fn place(table: &Table, key: &str, span: Span) -> Span {
    if span.is_empty() { table.place(key) } else { span }
}

fn methods(table: &Table, report: &mut Report<'_>) -> Option<Vec<Method>> {
    let mut methods = Vec::new();
    let mut good = true;
    for At { span, value } in table.list::<String>("methods") {
        match method(&value) {
            Ok(method) if methods.contains(&method) => {
                let problem = Problem::new(format!("the method {method} is here a second time"));
                report.error(span, problem.hint("keep one of them"));
                good = false;
            }
            Ok(method) => methods.push(method),
            Err(problem) => {
                report.error(span, problem);
                good = false;
            }
        }
    }
    good.then_some(methods)
}

/// RFC 9110 §9.1: methods are told apart by case.
fn method(text: &str) -> Result<Method, Problem> {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
    let upper = text.to_ascii_uppercase();
    if upper == "CONNECT" || upper == "TRACE" {
        let problem = Problem::new(format!("no route gets {upper}: such requests are refused with 405"));
        return Err(problem.hint("take it out; tunnels come by upgrade"));
    }
    if KNOWN.contains(&upper.as_str()) && upper != text {
        let problem = Problem::new(format!("the method '{text}' is not {upper}: methods are told apart by case"));
        return Err(problem.hint(format!("write \"{upper}\"")));
    }
    Method::from_bytes(text.as_bytes()).map_err(|_| {
        Problem::new(format!("'{text}' is not a method: it must be letters, digits and '-'"))
            .hint("for example: [\"GET\", \"POST\"]")
    })
}

fn value(value: Value) -> Option<ValueMatch> {
    match value {
        Value::Text(text) if text == "*" => Some(ValueMatch::Present),
        Value::Text(text) => Some(ValueMatch::Exact(text)),
        _ => None,
    }
}

fn values(table: &Table, key: &str) -> Vec<(String, ValueMatch)> {
    let fields = table.fields(key).into_iter().filter_map(|f| Some((f.name.value, value(f.value.value)?)));
    let mut all: Vec<_> = fields.collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// Fields' names are without case, so two keys of TOML may be one of them.
fn headers(table: &Table, report: &mut Report<'_>) -> Vec<(HeaderName, ValueMatch)> {
    let mut all: Vec<(HeaderName, ValueMatch)> = Vec::new();
    for field in table.fields("headers") {
        let name = HeaderName::from_bytes(field.name.value.as_bytes());
        let (Ok(name), Some(value)) = (name, value(field.value.value)) else { continue };
        if all.iter().any(|(n, _)| *n == name) {
            let problem = Problem::new(format!("the field '{name}' is here a second time"));
            report.error(field.name.span, problem.hint("names of fields are without case; keep one of them"));
        } else if name == http::header::HOST {
            let problem = Problem::new("the Host field is matched by host");
            report.error(field.name.span, problem.hint("write match = { host = \"www.example.com\" }"));
        } else {
            all.push((name, value));
        }
    }
    all.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    all
}
