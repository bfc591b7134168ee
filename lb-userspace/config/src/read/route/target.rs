//! What answers a route's requests: exactly one target.

use http::{HeaderName, HeaderValue, StatusCode};
use lb_model::Name;
use lb_model::http::Target;

use super::rewrite::{Known, template};
use crate::composite::Field;
use crate::read::places::Places;
use crate::report::{Problem, Report};
use crate::table::{FromValue as _, Table};
use crate::value::{At, Value};

const TARGETS: [&str; 5] = ["pool", "split", "redirect", "respond", "files"];

/// The target, if there is one, and the pools that it names.
pub(super) fn read(
    route: &Table,
    known: Known<'_>,
    places: &mut Places,
    report: &mut Report<'_>,
) -> (Option<Target>, Vec<At<Name>>) {
    let mut written: Vec<_> = TARGETS.iter().filter_map(|key| Some((route.key_place(key)?, *key))).collect();
    written.sort_by_key(|(place, _)| place.start);
    let key = match written.as_slice() {
        [(_, key)] => *key,
        [] => {
            let problem = Problem::new("[[route]] has no target: nothing says what answers");
            report.missing(
                route.span.clone(),
                problem.hint("add pool = \"web\", or one of split, redirect, respond, files"),
            );
            return (None, Vec::new());
        }
        [(_, first), (place, second), ..] => {
            let problem = Problem::new(format!("the route has {first} and {second}: exactly one of them answers"));
            report.error(place.clone(), problem.hint("keep one, or write two routes"));
            return (None, Vec::new());
        }
    };
    let mut pools = Vec::new();
    let target = match key {
        "pool" => pool(route, &mut pools),
        "split" => split(route, &mut pools, report),
        "redirect" => redirect(route, known, report),
        "respond" => respond(route, known, report),
        _ => route.get::<Table>("files").and_then(|t| Some(Target::Files { root: places.folder(&t, "root")? })),
    };
    (target, pools)
}

fn pool(route: &Table, pools: &mut Vec<At<Name>>) -> Option<Target> {
    let name: Name = route.get("pool")?;
    pools.push(At { span: route.place("pool"), value: name.clone() });
    Some(Target::Pool(name))
}

fn split(route: &Table, pools: &mut Vec<At<Name>>, report: &mut Report<'_>) -> Option<Target> {
    let mut parts: Vec<(Name, u32)> = Vec::new();
    let tables: Vec<Table> = route.get("split")?;
    let count = tables.len();
    for table in tables {
        let (Some(name), Some(weight)) = (table.get::<Name>("pool"), table.get::<i64>("weight")) else { continue };
        if parts.iter().any(|(earlier, _)| *earlier == name) {
            let problem = Problem::new(format!("the pool '{name}' is here a second time"));
            report.error(table.place("pool"), problem.hint("add up the weights instead"));
            continue;
        }
        pools.push(At { span: table.place("pool"), value: name.clone() });
        parts.push((name, weight.try_into().unwrap_or(u32::MAX)));
    }
    if parts.len() < count {
        return None;
    }
    if parts.iter().all(|(_, weight)| *weight == 0) {
        let empty = parts.is_empty();
        let problem = Problem::new(if empty { "an empty split has no answer" } else { "every weight of split is 0" });
        report.error(route.place("split"), problem.hint("give at least one pool a weight above 0"));
        return None;
    }
    Some(Target::Split(parts))
}

fn redirect(route: &Table, known: Known<'_>, report: &mut Report<'_>) -> Option<Target> {
    let table: Table = route.get("redirect")?;
    let status = table.get::<i64>("status").and_then(|s| StatusCode::from_u16(s.try_into().ok()?).ok());
    let status = status.filter(|s| {
        let good = matches!(s.as_u16(), 301 | 302 | 303 | 307 | 308);
        if !good {
            let problem = Problem::new(format!("{} is not a redirect's status", s.as_u16()));
            report.error(table.place("status"), problem.hint("301 and 308 are permanent; 302, 303 and 307 are not"));
        }
        good
    });
    let text: String = table.get("to")?;
    let place = table.place("to");
    if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic()) {
        report.error(place, Problem::new(format!("{c:?} cannot stand in a URL")).hint("write it as an escape"));
        return None;
    }
    let leads = text.contains("://") || text.starts_with(['/', '{', '?']);
    if !leads {
        let problem = Problem::new(format!("'{text}' is neither a URL nor a path: browsers would take it as relative"));
        report.error(place, problem.hint(format!("write https://{text} or /{text}")));
        return None;
    }
    Some(Target::Redirect { to: template(&text, place, known, report)?, status: status? })
}

fn respond(route: &Table, known: Known<'_>, report: &mut Report<'_>) -> Option<Target> {
    let table: Table = route.get("respond")?;
    let status = table.get::<i64>("status").and_then(|s| StatusCode::from_u16(s.try_into().ok()?).ok());
    let headers = headers(table.fields("headers"), report);
    let body: String = table.get("body")?;
    let body = template(&body, table.place("body"), known, report)?;
    let status = status?;
    if matches!(status.as_u16(), 204 | 205 | 304) && !body.pieces.is_empty() {
        let problem = Problem::new(format!("an answer of status {} has no body", status.as_u16()));
        report.error(table.place("body"), problem.hint("take body out, or use another status"));
        return None;
    }
    Some(Target::Respond { status, body, headers })
}

/// RFC 9110 §7.6.1 and RFC 9112 §6: how a message is framed is `lb`'s matter.
const FRAMING: [&str; 6] = ["connection", "content-length", "keep-alive", "transfer-encoding", "upgrade", "trailer"];

fn headers(fields: Vec<Field>, report: &mut Report<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut all = Vec::new();
    for field in fields {
        let Ok(name) = HeaderName::from_bytes(field.name.value.as_bytes()) else { continue };
        if FRAMING.contains(&name.as_str()) {
            let problem = Problem::new(format!("'{}' is not for configuration to say", field.name.value));
            report.error(field.name.span, problem.hint("how the answer is framed follows from its body"));
            continue;
        }
        let Value::List(items) = field.value.value else { continue };
        let values = items.into_iter().filter_map(|item| String::from_value(item.value?));
        all.extend(values.filter_map(|v| Some((name.clone(), HeaderValue::from_str(&v).ok()?))));
    }
    all.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    all
}
