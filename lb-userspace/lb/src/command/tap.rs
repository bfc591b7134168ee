//! `lb tap`: live requests of a route, secrets redacted.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use clap::Args;
use lb_api::client::segment;
use serde_json::Value;

use crate::cli::Global;
use crate::exit::Outcome;
use crate::{daemon, print};

#[derive(Debug, Args)]
pub(crate) struct Tap {
    /// The route
    #[arg(long, value_name = "NAME")]
    route: String,
    /// A request field to show besides, e.g. user-agent (repeatable)
    #[arg(long, value_name = "H")]
    header: Vec<String>,
}

pub(crate) fn tap(args: &Tap, global: &Global) -> Outcome {
    daemon::converse(|| async {
        let daemon = daemon::connect(global.socket.as_deref()).await?;
        let mut path = format!("/v1/tap?route={}", segment(&args.route));
        for header in &args.header {
            // Writing to a String cannot fail.
            let _ = write!(path, "&header={}", segment(header));
        }
        let mut failed = None;
        let each = |line: &str| {
            let shown = if global.json { line.to_owned() } else { for_people(line) };
            match print::line(&shown) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        };
        daemon.lines(&path, each).await?;
        failed.map_or(Ok(()), Err)
    })
}

/// `12:00:00.123 192.0.2.7 GET api.example.com/orders 200 web 10.0.0.11:8080 12 ms  user-agent: x`.
fn for_people(line: &str) -> String {
    let Ok(event) = serde_json::from_str::<Value>(line) else { return line.to_owned() };
    let text = |key: &str| match &event[key] {
        Value::Null => "-".to_owned(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    };
    let time = text("time");
    let clock = time.split_once('T').map_or(time.as_str(), |(_, t)| t.trim_end_matches('Z'));
    let mut out = format!(
        "{clock} {} {} {}{} {} {} {} {} ms",
        text("client"),
        text("method"),
        text("host"),
        text("path"),
        text("status"),
        text("pool"),
        text("backend"),
        text("duration_ms")
    );
    if let Some(reason) = event["reason"].as_str() {
        let _ = write!(out, " ({reason})");
    }
    for (name, value) in event["headers"].as_object().into_iter().flatten() {
        let _ = write!(out, "  {name}: {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_for_people() {
        let event = r#"{"time":"2026-01-01T12:00:00.123Z","client":"192.0.2.7","method":"GET","host":"a.test","path":"/x",
            "status":502,"pool":"web","backend":null,"duration_ms":3,"reason":"connect_failed","headers":{"accept":"*/*"}}"#;
        assert_eq!(
            super::for_people(event),
            "12:00:00.123 192.0.2.7 GET a.test/x 502 web - 3 ms (connect_failed)  accept: */*"
        );
    }
}
