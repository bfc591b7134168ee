//! `[pool.health]`: which keys belong to which type, and what `expect` means there.

use std::time::Duration;

use lb_model::http::UpstreamTls;
use lb_model::{HealthCheck, HealthKind, StatusRange};

use crate::report::{Problem, Report};
use crate::table::Table;
use crate::units::{self, Duration as Shown};
use crate::value::At;

/// The longest datagram that fits every path without fragments (RFC 8200 §5, less the headers).
const LONGEST_PAYLOAD: usize = 1232;
/// Keys that only mean something to some types.
const OWNERS: [(&str, &[&str]); 5] = [
    ("path", &["http", "https"]),
    ("host", &["http", "https"]),
    ("service", &["grpc"]),
    ("send", &["udp"]),
    ("expect", &["http", "https", "udp"]),
];

/// `tls`: the pool's.
pub(crate) fn read(table: &Table, tls: Option<&UpstreamTls>, report: &mut Report<'_>) -> Option<HealthCheck> {
    let kind: &str = table.get("type")?;
    for (key, owners) in OWNERS {
        if let Some(place) = table.key_place(key).filter(|_| !owners.contains(&kind)) {
            let problem = Problem::new(format!("{key} means nothing to a health check of type \"{kind}\""));
            report.error(place, problem.hint(format!("{key} belongs to type = \"{}\"", owners.join("\" or \""))));
        }
    }
    let kind = match kind {
        "http" => http(table, report),
        "https" => https(table, tls, report),
        "grpc" => table.get("service").map(|service| HealthKind::Grpc { service, tls: tls.cloned() }),
        "udp" => udp(table, report),
        _ => Some(HealthKind::Tcp),
    };
    let (interval, timeout): (Duration, Duration) = (table.get("interval")?, table.get("timeout")?);
    if timeout > interval {
        let (t, i) = (Shown(timeout), Shown(interval));
        let problem =
            Problem::new(format!("timeout {t} is longer than interval {i}, so a slow answer delays the next question"));
        report.warning(table.place("timeout"), problem.hint("make the timeout at most the interval"));
    }
    let number = |key| table.get::<i64>(key).and_then(|n| u32::try_from(n).ok());
    Some(HealthCheck {
        kind: kind?,
        interval,
        timeout,
        rise: number("rise")?,
        fall: number("fall")?,
        jitter_percent: table.get("jitter")?,
        port: number("port").and_then(|p| p.try_into().ok()),
    })
}

fn http(table: &Table, report: &mut Report<'_>) -> Option<HealthKind> {
    let expect = statuses(table, report);
    Some(HealthKind::Http { path: table.get("path")?, host: table.get("host"), expect: expect? })
}

/// Without the pool's `tls`, whatever the system's roots vouch for.
fn https(table: &Table, tls: Option<&UpstreamTls>, report: &mut Report<'_>) -> Option<HealthKind> {
    let usual = UpstreamTls { ca: None, server_name: None, client: None, verify: true };
    let tls = tls.cloned().unwrap_or(usual);
    match http(table, report)? {
        HealthKind::Http { path, host, expect } => Some(HealthKind::Https { path, host, expect, tls }),
        other => Some(other),
    }
}

fn statuses(table: &Table, report: &mut Report<'_>) -> Option<Vec<StatusRange>> {
    if !table.is_written("expect") {
        return Some(vec![StatusRange { first: 200, last: 299 }]);
    }
    let texts: Vec<At<String>> = table.get("expect")?;
    if texts.is_empty() {
        report.error(table.place("expect"), Problem::new("an empty expect would call no answer healthy"));
    }
    let mut out = Vec::new();
    for text in texts {
        match units::parse_statuses(&text.value) {
            Ok(ranges) => out.extend(ranges),
            Err(why) => report.error(place(table, &text), Problem::new(why)),
        }
    }
    Some(out)
}

fn udp(table: &Table, report: &mut Report<'_>) -> Option<HealthKind> {
    let send: Vec<u8> = table.get("send")?;
    if !table.is_written("send") {
        let problem = Problem::new("without send an empty datagram is sent, which most servers do not answer");
        report.warning(table.span.clone(), problem.hint("add send = \"ping\", or whatever the backends answer"));
    }
    let mut expect = None;
    if table.is_written("expect") {
        let texts: Vec<At<String>> = table.get("expect")?;
        let [text] = texts.as_slice() else {
            let problem = Problem::new("a health check of type \"udp\" expects one text, not a list");
            report.error(table.place("expect"), problem);
            return None;
        };
        match units::parse_payload(&text.value) {
            Ok(bytes) => expect = Some(bytes),
            Err(why) => report.error(place(table, text), Problem::new(why)),
        }
    }
    for (key, length) in [("send", send.len()), ("expect", expect.as_ref().map_or(0, Vec::len))] {
        if length > LONGEST_PAYLOAD {
            let problem =
                Problem::new(format!("{key} is {length} bytes long, more than the {LONGEST_PAYLOAD} of one datagram"));
            report.error(table.place(key), problem);
        }
    }
    Some(HealthKind::Udp { send, expect })
}

/// Of one text of `expect`: its own in a list, else the whole value's.
fn place(table: &Table, text: &At<String>) -> crate::source::Span {
    if text.span.is_empty() { table.place("expect") } else { text.span.clone() }
}
