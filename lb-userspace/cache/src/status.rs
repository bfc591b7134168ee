//! Cache-Status (RFC 9211): how a request was handled, in the response.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
pub(crate) const HIT: HeaderValue = HeaderValue::from_static("lb; hit");

/// Why a request went forward (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    Bypass,
    Method,
    Miss,
    VaryMiss,
    Request,
    Stale,
}

/// All that one entry of the field says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// `None`: answered without going forward.
    pub(crate) forward: Option<Forward>,
    /// Of the next server, if it is not the response's.
    pub(crate) forward_status: Option<u16>,
    pub(crate) stored: bool,
    pub(crate) collapsed: bool,
    /// Seconds, of a stale hit.
    pub(crate) ttl: Option<i64>,
    pub(crate) detail: Option<&'static str>,
}

impl Mark {
    pub(crate) fn forward(forward: Forward) -> Self {
        Self { forward: Some(forward), ..Self::default() }
    }

    pub(crate) fn value(&self) -> HeaderValue {
        let plain = Self { forward: self.forward, ..Self::default() } == *self;
        let fixed = match self.forward {
            None if plain => Some("lb; hit"),
            Some(Forward::Miss) if plain => Some("lb; fwd=miss"),
            Some(Forward::Bypass) if plain => Some("lb; fwd=bypass"),
            Some(Forward::Method) if plain => Some("lb; fwd=method"),
            Some(Forward::Miss) if (Self { stored: true, ..Self::forward(Forward::Miss) }) == *self => {
                Some("lb; fwd=miss; stored")
            }
            _ => None,
        };
        fixed.map_or_else(|| self.text(), HeaderValue::from_static)
    }

    fn text(&self) -> HeaderValue {
        let mut text = String::from(match self.forward {
            None => "lb; hit",
            Some(Forward::Bypass) => "lb; fwd=bypass",
            Some(Forward::Method) => "lb; fwd=method",
            Some(Forward::Miss) => "lb; fwd=miss",
            Some(Forward::VaryMiss) => "lb; fwd=vary-miss",
            Some(Forward::Request) => "lb; fwd=request",
            Some(Forward::Stale) => "lb; fwd=stale",
        });
        if let Some(status) = self.forward_status {
            let _ = write!(text, "; fwd-status={status}");
        }
        if let Some(ttl) = self.ttl {
            let _ = write!(text, "; ttl={ttl}");
        }
        for (said, word) in [(self.stored, "; stored"), (self.collapsed, "; collapsed")] {
            text.push_str(if said { word } else { "" });
        }
        if let Some(detail) = self.detail {
            let _ = write!(text, "; detail={detail}");
        }
        HeaderValue::from_str(&text).unwrap_or(HIT)
    }
}

/// After what caches nearer to the origin said (RFC 9211 §2: the origin's first).
pub(crate) fn appended(headers: &HeaderMap, ours: &HeaderValue) -> HeaderValue {
    let mut lines = headers.get_all(CACHE_STATUS).iter().peekable();
    if lines.peek().is_none() {
        return ours.clone();
    }
    let mut all = Vec::new();
    for line in lines.chain([ours]) {
        if !all.is_empty() {
            all.extend_from_slice(b", ");
        }
        all.extend_from_slice(line.as_bytes());
    }
    HeaderValue::from_bytes(&all).unwrap_or_else(|_| ours.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let stale = Mark { forward_status: Some(304), ..Mark::forward(Forward::Stale) };
        for (mark, text) in [
            (Mark::default(), "lb; hit"),
            (Mark { stored: true, ..Mark::forward(Forward::Miss) }, "lb; fwd=miss; stored"),
            (Mark::forward(Forward::Miss), "lb; fwd=miss"),
            (Mark { collapsed: true, ..Mark::forward(Forward::Miss) }, "lb; fwd=miss; collapsed"),
            (Mark::forward(Forward::VaryMiss), "lb; fwd=vary-miss"),
            (stale, "lb; fwd=stale; fwd-status=304"),
            (Mark { ttl: Some(-3), ..Mark::default() }, "lb; hit; ttl=-3"),
        ] {
            assert_eq!(mark.value(), text);
        }
    }

    #[test]
    fn the_origin_comes_first() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_STATUS, HeaderValue::from_static("inner; hit"));
        assert_eq!(appended(&headers, &HIT), "inner; hit, lb; hit");
    }
}
