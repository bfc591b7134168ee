//! The one place where the suites read the clock and wait: always for a condition, always with a bound.
#![expect(clippy::disallowed_methods, reason = "the suites look at a running product: they are an edge")]

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Lets time pass where time itself is the subject (a rate, an interval); never to wait for a condition.
pub fn pass(time: Duration) {
    std::thread::sleep(time);
}

/// Asks `ask` every 20 ms until it gives something.
///
/// # Errors
/// After `bound`, naming `what` and the last thing `ask` complained of; an error of `ask` is not final.
pub fn until<T>(what: &str, bound: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = now();
    loop {
        let last = match ask() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => "not yet".to_owned(),
            Err(e) => format!("{e:#}"),
        };
        if start.elapsed() > bound {
            bail!("{what}: not within {bound:?} ({last})");
        }
        pass(Duration::from_millis(20));
    }
}
