//! Static files below a root (RFC 9110 §13, §14): what a GET or HEAD of a path answers.

use std::path::Path;
use std::time::SystemTime;

use http::{HeaderMap, Method, Response};
use lb_message::Body;
use lb_model::http::Refusal;

/// Why nothing is served, and the fields that belong on the problem document (`Allow`, `Content-Range`).
#[derive(Debug)]
pub struct Refused {
    pub refusal: Refusal,
    pub headers: HeaderMap,
}

impl Refused {
    fn new(refusal: Refusal) -> Self {
        Self { refusal, headers: HeaderMap::new() }
    }
}

/// The file at `path` (normalised, rewritten, percent-encoded, without query) below `root`.
///
/// # Errors
/// `NotFound`, `MethodNotAllowed` (with Allow), `RangeNotSatisfiable` (with Content-Range), `Internal` (the file cannot be read).
pub async fn serve(
    root: &Path,
    path: &str,
    method: &Method,
    headers: &HeaderMap,
    now: SystemTime,
) -> Result<Response<Body>, Refused> {
    let _ = (root, path, method, headers, now);
    Err(Refused::new(Refusal::NotFound))
}
