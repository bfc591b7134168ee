//! Answers that tell what the backend was asked: a JSON document, or the backend's name.

use serde_json::{Value, json};

use super::backend::{Backend, Reply, Seen};

/// FNV-1a, enough to tell bodies apart.
#[must_use]
pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

/// The request as a document.
#[must_use]
pub fn document(seen: &Seen) -> Value {
    json!({
        "method": seen.method,
        "target": seen.target,
        "version": seen.version,
        "fields": seen.fields,
        "length": seen.body.len(),
        "digest": digest(&seen.body),
    })
}

#[must_use]
pub fn reply(seen: &Seen) -> Reply {
    Reply::new("200 OK\r\nContent-Type: application/json", document(seen).to_string())
}

/// A backend that answers with [`document`].
///
/// # Errors
/// As [`Backend::start`].
pub fn backend() -> anyhow::Result<Backend> {
    Backend::start(reply)
}

/// A backend that answers every request with its name.
///
/// # Errors
/// As [`Backend::start`].
pub fn named(name: &str) -> anyhow::Result<Backend> {
    let name = name.to_owned();
    Backend::start(move |_| Reply::ok(&name))
}
