//! `lb backend drain --wait`: what is left, live, until nothing is.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use lb_api::Client;
use lb_api::wire::BackendDoc;

use super::backend::{Which, list};
use crate::exit::{Failure, Outcome};
use crate::print::{self, units};

const POLL: Duration = Duration::from_millis(250);

/// Ends well when the backend is drained, or gone from its pool; with 1 if somebody takes the drain back.
pub(crate) async fn wait(daemon: &Client, which: &Which, as_json: bool) -> Outcome {
    let mut shown = Shown::default();
    loop {
        let all = list(daemon, Some(&which.pool)).await?;
        let Some(backend) = find(&all, &which.address) else {
            shown.end();
            return done(as_json, None, which, "is drained and has left the pool");
        };
        match backend.state.as_str() {
            "drained" => {
                shown.end();
                return done(as_json, Some(backend), which, "is drained");
            }
            "draining" => shown.show(backend),
            _ => {
                shown.end();
                return Err(Failure::refused(format!("{} no longer drains: somebody took it back", which.address)));
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The address may be written in more than one way; the daemon has understood it already.
fn find<'a>(all: &'a [BackendDoc], address: &str) -> Option<&'a BackendDoc> {
    let canonical = address.parse::<lb_model::BackendAddress>().map_or_else(|_| address.to_owned(), |a| a.to_string());
    all.iter().find(|b| b.address == canonical)
}

fn done(as_json: bool, backend: Option<&BackendDoc>, which: &Which, what: &str) -> Outcome {
    match backend {
        Some(backend) if as_json => print::json(backend),
        None if as_json => {
            print::json(&serde_json::json!({"pool": which.pool, "address": which.address, "state": "drained"}))
        }
        _ => print::line(&format!("{} in {} {what}", which.address, which.pool)),
    }
}

/// The remaining count on standard error: one line rewritten on a terminal, else a line for each change.
#[derive(Debug, Default)]
struct Shown {
    last: Option<(u64, u64)>,
}

impl Shown {
    fn show(&mut self, b: &BackendDoc) {
        let tty = std::io::stderr().is_terminal();
        // Off a terminal the time left alone is no news.
        let news = (b.active_flows, if tty { b.drain_seconds_left.unwrap_or(0) } else { 0 });
        if self.last == Some(news) {
            return;
        }
        self.last = Some(news);
        let left = b.drain_seconds_left.map(|s| format!(", {} left", units::seconds(s))).unwrap_or_default();
        let flows = match b.active_flows {
            1 => "1 flow remains".to_owned(),
            n => format!("{} flows remain", units::count(n)),
        };
        let line = format!("{} draining: {flows}{left}", b.address);
        if tty {
            let mut err = std::io::stderr().lock();
            // Progress that cannot be shown is no reason to stop.
            let _ = write!(err, "\r\x1b[K{line}").and_then(|()| err.flush());
        } else {
            print::to_stderr(&line);
        }
    }

    fn end(&self) {
        if self.last.is_some() && std::io::stderr().is_terminal() {
            print::to_stderr("");
        }
    }
}
