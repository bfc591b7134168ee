//! What is known of a request when its route is sought, and what its pattern caught.

use std::net::IpAddr;

use http::{HeaderMap, Method};
use lb_model::http::{PathPattern, Route, Segment};
use smallvec::SmallVec;

/// The parts of a request that routes look at.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Canonical: lower case, without port; see [`crate::host::canonical`]. Empty: none was given.
    pub host: &'a str,
    /// Normal; see [`crate::path::normalise`].
    pub path: &'a str,
    /// As sent, without `?`.
    pub query: Option<&'a str>,
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    /// The client, as far as it can be believed.
    pub source: IpAddr,
}

/// What stood where a pattern has `{name}`: ranges of the normal path, percent-encoded as there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    ranges: SmallVec<[(u32, u32); 4]>,
}

impl Captures {
    /// Reads a path that matches the route's pattern.
    pub(crate) fn of(route: &Route, path: &str) -> Self {
        let Some(PathPattern::Pattern { segments, .. }) = &route.matching.path else { return Self::default() };
        let mut ranges = SmallVec::new();
        let mut start = 1;
        for segment in segments {
            let length = path.get(start..).map_or(0, |rest| rest.find('/').unwrap_or(rest.len()));
            if let Segment::Capture(_) = segment {
                let bound = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
                ranges.push((bound(start), bound(start + length)));
            }
            start += length + 1;
        }
        Self { ranges }
    }

    /// The text of one capture; `path` is the one it was made from.
    #[must_use]
    pub fn get<'p>(&self, route: &Route, name: &str, path: &'p str) -> Option<&'p str> {
        let at = route.matching.path.as_ref()?.captures().position(|n| n == name)?;
        let (start, end) = *self.ranges.get(at)?;
        path.get(start as usize..end as usize)
    }
}
