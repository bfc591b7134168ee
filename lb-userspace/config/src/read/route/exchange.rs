//! How a route's requests are dealt with: listeners, time-outs, retries, compression, cache, mirror, pages, upgrades.

use std::collections::BTreeMap;
use std::path::PathBuf;

use http::HeaderName;
use lb_model::http::{Cache, Coding, Compress, DiskCache, Mirror, Retry, RouteTimeouts, UnsafeEscape};
use lb_model::{Name, StatusRange};

use crate::read::places::Places;
use crate::report::{Problem, Report};
use crate::table::Table;
use crate::units;
use crate::value::{At, Value};

pub(super) fn listeners(table: &Table, report: &mut Report<'_>) -> Vec<At<Name>> {
    let written: Vec<At<Name>> = table.list("listener");
    if table.is_empty_list("listener") {
        let problem = Problem::new("an empty listener would be no listener, or every one: it is not clear which");
        report.error(table.place("listener"), problem.hint("leave it out for every listener"));
    }
    let mut out: Vec<At<Name>> = Vec::new();
    for item in written {
        if out.iter().any(|l| l.value == item.value) {
            let problem = Problem::new(format!("the listener '{}' is here a second time", item.value));
            report.error(item.span, problem.hint("keep one of them"));
        } else {
            out.push(item);
        }
    }
    out
}

pub(super) fn path_unsafe(table: &Table, report: &mut Report<'_>) -> Vec<UnsafeEscape> {
    let mut out = Vec::new();
    for At { span, value } in table.list::<String>("path_unsafe") {
        match UnsafeEscape::ALL.into_iter().find(|e| e.as_str().eq_ignore_ascii_case(&value)) {
            Some(escape) if out.contains(&escape) => {
                let problem = Problem::new(format!("{value} is here a second time"));
                report.error(span, problem.hint("keep one of them"));
            }
            Some(escape) => out.push(escape),
            None => {
                let problem = Problem::new(format!("'{value}' is not among the escapes that are refused"));
                report.error(span, problem.hint("they are %00, %2f and %5c; every other passes"));
            }
        }
    }
    out
}

pub(super) fn mirror(table: &Table, pools: &mut Vec<At<Name>>, report: &mut Report<'_>) -> Option<Mirror> {
    let inner: Table = table.get("mirror")?;
    if ["redirect", "respond", "files"].iter().any(|key| table.is_written(key)) {
        let problem = Problem::new("mirror copies what goes to a pool, and this route has none");
        report.error(table.key_place("mirror")?, problem.hint("take it out"));
        return None;
    }
    let pool: Name = inner.get("pool")?;
    pools.push(At { span: inner.place("pool"), value: pool.clone() });
    Some(Mirror { pool, percent: inner.get::<i64>("percent")?.try_into().ok()? })
}

pub(super) fn timeouts(t: &Table) -> Option<RouteTimeouts> {
    Some(RouteTimeouts { request: t.get("request")?, idle: t.get("idle")?, connect: t.get("connect")? })
}

pub(super) fn retry(t: &Table, report: &mut Report<'_>) -> Option<Retry> {
    let texts: Vec<At<String>> = t.get("on").unwrap_or_default();
    let mut on: Vec<StatusRange> = Vec::new();
    for At { span, value } in texts {
        let place = if span.is_empty() { t.place("on") } else { span };
        match units::parse_statuses(&value) {
            Ok(ranges) if ranges.iter().all(|r| r.first >= 400) => on.extend(ranges),
            Ok(_) => {
                let problem =
                    Problem::new(format!("on = \"{value}\": an answer below 400 is no failure to try again after"));
                report.error(place, problem.hint("for example: on = [\"502-504\"]"));
            }
            Err(why) => report.error(place, Problem::new(why)),
        }
    }
    if t.get::<i64>("attempts") == Some(0) && !on.is_empty() {
        let problem = Problem::new("on does nothing with attempts = 0");
        report.warning(t.place("on"), problem.hint("make attempts at least 1, or take on out"));
    }
    Some(Retry { attempts: t.get::<i64>("attempts")?.try_into().ok()?, budget_percent: t.get("budget")?, on })
}

pub(super) fn compress(table: &Table, report: &mut Report<'_>) -> Option<Compress> {
    let t = match table.get::<Value>("compress")? {
        Value::Bool(true) => return Some(Compress::default()),
        Value::Table(t) => t,
        _ => return None,
    };
    let mut compress = Compress { min_size: t.get("min_size")?, ..Compress::default() };
    if t.is_written("algorithms") {
        let coding = |word: &str| Coding::ALL.into_iter().find(|c| c.as_str() == word);
        compress.algorithms = Vec::new();
        for At { span, value } in t.list::<&'static str>("algorithms") {
            match coding(value) {
                Some(c) if compress.algorithms.contains(&c) => {
                    let problem = Problem::new(format!("{value} is here a second time"));
                    report.error(span, problem.hint("keep one of them"));
                }
                found => compress.algorithms.extend(found),
            }
        }
    }
    if t.is_written("types") {
        compress.types = t.list::<String>("types").into_iter().map(|a| a.value.to_ascii_lowercase()).collect();
    }
    for key in ["algorithms", "types"] {
        if t.is_empty_list(key) {
            let problem = Problem::new(format!("with an empty {key} nothing is compressed"));
            report.error(t.place(key), problem.hint("write compress = false, or leave it out"));
        }
    }
    Some(compress)
}

pub(super) fn cache(table: &Table, places: &Places, report: &mut Report<'_>) -> Option<Cache> {
    let t: Table = table.get("cache")?;
    let (max_size, max_object): (u64, u64) = (t.get("max_size")?, t.get("max_object")?);
    if max_object > max_size {
        // Written smaller than the other's default is no contradiction of the user's.
        if t.is_written("max_object") {
            let (object, size) = (units::Size(max_object), units::Size(max_size));
            let problem = Problem::new(format!("max_object {object} is more than the whole cache's max_size, {size}"));
            report.error(t.place("max_object"), problem.hint("make max_size larger"));
            return None;
        }
    }
    let disk = match t.get::<Table>("disk") {
        Some(d) => Some(DiskCache { path: places.path(&d, "path")?, size: d.get("size")? }),
        None => None,
    };
    Some(Cache {
        max_size,
        max_object: max_object.min(max_size),
        stale_while_revalidate: t.get("stale_while_revalidate")?,
        stale_if_error: t.get("stale_if_error")?,
        tags: HeaderName::from_bytes(t.get::<String>("tags")?.as_bytes()).ok()?,
        disk,
    })
}

pub(super) fn errors(table: &Table, places: &mut Places) -> BTreeMap<u16, PathBuf> {
    let page = |f: crate::composite::Field| match f.value.value {
        Value::Path(path) => Some((f.name.value.parse().ok()?, places.note(f.value.span, path, false))),
        _ => None,
    };
    table.fields("errors").into_iter().filter_map(page).collect()
}

pub(super) fn upgrade(table: &Table, report: &mut Report<'_>) -> Vec<String> {
    if !table.is_written("upgrade") {
        return vec!["websocket".to_owned()];
    }
    let mut out: Vec<String> = Vec::new();
    for At { span, value } in table.list::<String>("upgrade") {
        let name = value.to_ascii_lowercase();
        if name == "h2c" {
            // RFC 9113 §3.1.
            let problem = Problem::new("an upgrade to h2c is obsolete, and passes by what a route refuses");
            report.error(span, problem.hint("HTTP/2 in clear text is protocols = [\"h2c\"] of a listener"));
        } else if out.contains(&name) {
            let problem = Problem::new(format!("{value} is here a second time"));
            report.error(span, problem.hint("keep one of them"));
        } else {
            out.push(name);
        }
    }
    out
}
