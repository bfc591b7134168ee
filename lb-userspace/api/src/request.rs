//! A request as the routes see it: segments, query and body, decoded and bounded.

use std::borrow::Cow;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use crate::wire::{Fault, FaultKind};

/// The longest configuration fits, an endless body does not.
const MAX_BODY: usize = 65 << 20;

#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// Of the path, percent-decoded, without the leading `v1`.
    pub(crate) segments: Vec<String>,
    query: Vec<(String, String)>,
    body: bytes::Bytes,
}

pub(crate) fn invalid(error: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Invalid, error)
}

impl Asked {
    pub(crate) async fn read(request: Request<Incoming>) -> Result<Self, Fault> {
        let (head, body) = request.into_parts();
        let segments = decode_path(head.uri.path())?;
        let query = head.uri.query().unwrap_or_default();
        let query = form_urlencoded::parse(query.as_bytes()).map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|e| invalid(format!("the request's body cannot be read: {e}")))?.to_bytes();
        Ok(Self { method: head.method, segments, query, body })
    }

    pub(crate) fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Every value of a key.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Refuses query keys that would be ignored.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Fault> {
        match self.query.iter().find(|(k, _)| !known.contains(&k.as_str())) {
            Some((key, _)) => Err(invalid(format!("'{key}' is not a query key of this path"))),
            None => Ok(()),
        }
    }

    pub(crate) fn parsed<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, Fault> {
        let parse = |v: &str| v.parse().map_err(|_| invalid(format!("'{v}' is no value of '{key}'")));
        self.query(key).map(parse).transpose()
    }

    /// The body as JSON; an empty body is an empty object.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        let text: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        serde_json::from_slice(text).map_err(|e| invalid(format!("the request's body is not what is wanted: {e}")))
    }
}

fn decode_path(path: &str) -> Result<Vec<String>, Fault> {
    let mut segments = path.split('/').skip(1).map(|s| percent_decode_str(s).decode_utf8().map(Cow::into_owned));
    match segments.next() {
        Some(Ok(version)) if version == "v1" => {}
        _ => {
            let error = format!("'{path}' is not a path of this interface; they begin with /v1/");
            return Err(Fault::new(FaultKind::Unknown, error));
        }
    }
    segments.collect::<Result<_, _>>().map_err(|_| invalid(format!("'{path}' is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let segments = decode_path("/v1/pools/web/backends/%5B2001%3Adb8%3A%3A1%5D%3A80").expect("a path");
        assert_eq!(segments, ["pools", "web", "backends", "[2001:db8::1]:80"]);
        assert_eq!(decode_path("/v2/status").expect_err("a version").kind, FaultKind::Unknown);
        assert_eq!(decode_path("/v1/%ff").expect_err("not UTF-8").kind, FaultKind::Invalid);
    }
}
