//! Live requests for `lb tap`: chosen fields, secrets redacted, dropped rather than waited for.

use tokio::sync::mpsc;

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
