//! Which requests a route is for.

use std::fmt;

use http::{HeaderName, Method};

use crate::listen::Prefix;

/// A host, lower case, without port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    Exact(String),
    /// `*.a.test`, kept as `a.test`: one or more labels before it, never the name itself.
    Wildcard(String),
}

/// A piece of a pattern between two slashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    Literal(String),
    /// `{id}`: one segment, not empty.
    Capture(String),
}

/// A normalised path's form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    Exact(String),
    /// `/a/*`, kept as `/a` (and `/*` as the empty text): whole segments; matches `/a`, `/a/`, `/a/b`.
    Prefix(String),
    /// Segments with at least one capture; `rest`: `/*` at the end.
    Pattern {
        segments: Vec<Segment>,
        rest: bool,
    },
}

/// A field's, parameter's or cookie's value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ValueMatch {
    /// There, also empty.
    Present,
    Exact(String),
}

/// All that is named must hold; nothing named: every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Any of them; empty: every host.
    pub hosts: Vec<HostPattern>,
    pub path: Option<PathPattern>,
    /// Any of them; empty: every method.
    pub methods: Vec<Method>,
    pub headers: Vec<(HeaderName, ValueMatch)>,
    pub query: Vec<(String, ValueMatch)>,
    pub cookies: Vec<(String, ValueMatch)>,
    /// Any of them; empty: everybody.
    pub source: Vec<Prefix>,
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Prefix(path) => write!(f, "{path}/*"),
            Self::Pattern { segments, rest } => {
                for segment in segments {
                    match segment {
                        Segment::Literal(text) => write!(f, "/{text}")?,
                        Segment::Capture(name) => write!(f, "/{{{name}}}")?,
                    }
                }
                if *rest { f.write_str("/*") } else { Ok(()) }
            }
        }
    }
}

impl fmt::Display for ValueMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str("*"),
            Self::Exact(value) => f.write_str(value),
        }
    }
}

impl PathPattern {
    /// Names of the captures, in order.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        let segments = match self {
            Self::Pattern { segments, .. } => segments.as_slice(),
            Self::Exact(_) | Self::Prefix(_) => &[],
        };
        segments.iter().filter_map(|s| match s {
            Segment::Capture(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }
}
