//! Live requests for `lb tap`: chosen fields, secrets redacted, dropped rather than waited for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use crate::log;
use crate::record::Record;

/// Requests that may wait for the reader.
const WAITING: usize = 1024;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TapOptions {
    /// A route's name; `None`: every route.
    pub route: Option<String>,
    /// Request header fields to show besides the access line, lower case.
    pub headers: Vec<String>,
}

/// One request that has ended, as a JSON object: the access line's fields and `headers`.
pub type TapEvent = String;

/// A stream of requests; ends the tap when dropped.
#[derive(Debug)]
pub struct Tap {
    pub events: mpsc::Receiver<TapEvent>,
}

/// Everybody who looks on.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    any: AtomicBool,
    list: Mutex<Vec<(TapOptions, mpsc::Sender<TapEvent>)>>,
}

impl Taps {
    pub(crate) fn open(&self, mut options: TapOptions) -> Tap {
        let (sender, events) = mpsc::channel(WAITING);
        options.headers.iter_mut().for_each(|h| h.make_ascii_lowercase());
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push((options, sender));
        self.any.store(true, Ordering::Relaxed);
        Tap { events }
    }

    /// Somebody looks on: requests keep their fields until they end.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    pub(crate) fn tell(&self, record: &Record, bytes_out: u64, took: Duration, wall: SystemTime) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|(options, sender)| {
            if sender.is_closed() {
                return false;
            }
            let route = record.road.as_ref().map(|r| r.route.name.as_str());
            if options.route.is_none() || options.route.as_deref() == route {
                // A reader that does not keep up misses requests.
                let _full = sender.try_send(event(options, record, bytes_out, took, wall));
            }
            true
        });
        self.any.store(!list.is_empty(), Ordering::Relaxed);
    }
}

fn event(options: &TapOptions, record: &Record, bytes_out: u64, took: Duration, wall: SystemTime) -> TapEvent {
    let mut out = Vec::with_capacity(512);
    log::object(&mut out, record, bytes_out, took, wall);
    out.extend_from_slice(b",\"headers\":{");
    let mut first = true;
    for name in &options.headers {
        let Some(value) = record.tapped.as_ref().and_then(|h| h.get(name)) else { continue };
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        log::text(&mut out, name.as_bytes());
        out.push(b':');
        log::text(&mut out, if is_secret(name) { b"[redacted]" } else { value.as_bytes() });
    }
    out.extend_from_slice(b"}}");
    String::from_utf8(out).unwrap_or_default()
}

/// What authenticates somebody, by its name.
fn is_secret(name: &str) -> bool {
    let parts =
        ["authorization", "cookie", "token", "secret", "password", "api-key", "apikey", "session", "credential"];
    parts.iter().any(|p| name.contains(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_name() {
        for name in ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token", "x-csrf-token"] {
            assert!(is_secret(name), "{name}");
        }
        assert!(!is_secret("user-agent") && !is_secret("accept"));
    }
}
