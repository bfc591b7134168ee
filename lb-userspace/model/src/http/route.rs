//! What becomes of a request.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use crate::health::StatusRange;
use crate::http::matching::Match;
use crate::http::template::Template;
use crate::name::Name;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// Takes this off the path's beginning (whole segments); leaves at least `/`.
    Strip(String),
    /// Puts this where the route's prefix matched.
    ReplacePrefix(String),
    /// The whole path, without query.
    Path(Template),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    pub path: Option<PathRewrite>,
    pub host: Option<String>,
}

/// What answers; exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Pool(Name),
    /// Pools and their weights, not all 0.
    Split(Vec<(Name, u32)>),
    Redirect {
        to: Template,
        status: StatusCode,
    },
    Respond {
        status: StatusCode,
        body: Template,
        headers: Vec<(HeaderName, HeaderValue)>,
    },
    Files {
        root: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteTimeouts {
    /// From the request's head to the response's, retries included.
    pub request: Duration,
    /// Silence in a body or tunnel.
    pub idle: Duration,
    pub connect: Duration,
}

impl Default for RouteTimeouts {
    fn default() -> Self {
        Self { request: Duration::from_secs(30), idle: Duration::from_secs(60), connect: Duration::from_secs(1) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Further tries.
    pub attempts: u32,
    /// Share of the last ten seconds' requests, in percent; ten in ten seconds always.
    pub budget_percent: u8,
    /// Statuses that are tried again.
    pub on: Vec<StatusRange>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 1, budget_percent: 20, on: Vec::new() }
    }
}

/// A content coding (RFC 9110 §8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

impl Coding {
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];
    /// As in Accept-Encoding.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compress {
    /// In order of preference where the client has none.
    pub algorithms: Vec<Coding>,
    /// Bytes; smaller bodies of known length stay as they are.
    pub min_size: u64,
    /// `text/*`, `application/json`: without parameters, lower case.
    pub types: Vec<String>,
}

impl Default for Compress {
    fn default() -> Self {
        let types = [
            "text/*",
            "application/json",
            "application/javascript",
            "application/xml",
            "application/wasm",
            "application/manifest+json",
            "application/ld+json",
            "application/problem+json",
            "application/atom+xml",
            "application/rss+xml",
            "application/xhtml+xml",
            "image/svg+xml",
            "font/ttf",
            "font/otf",
        ];
        Self { algorithms: Coding::ALL.to_vec(), min_size: 1 << 10, types: types.map(str::to_owned).to_vec() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskCache {
    /// A directory of this cache's own.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Bytes of memory, heads included.
    pub max_size: u64,
    /// Bytes of one body.
    pub max_object: u64,
    pub stale_while_revalidate: Duration,
    pub stale_if_error: Duration,
    /// The response field that lists tags.
    pub tags: HeaderName,
    pub disk: Option<DiskCache>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    pub pool: Name,
    pub percent: u8,
}

/// An escape that is refused unless a route names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnsafeEscape {
    /// `%00`
    Nul,
    /// `%2f`
    Slash,
    /// `%5c`
    Backslash,
}

impl UnsafeEscape {
    pub const ALL: [Self; 3] = [Self::Nul, Self::Slash, Self::Backslash];
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nul => "%00",
            Self::Slash => "%2f",
            Self::Backslash => "%5c",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub name: Name,
    /// Empty: every listener.
    pub listeners: Vec<Name>,
    pub matching: Match,
    pub rewrite: Rewrite,
    pub target: Target,
    pub timeouts: RouteTimeouts,
    pub retry: Retry,
    /// Bytes of a request's body; `None`: no limit.
    pub max_body: Option<u64>,
    pub compress: Option<Compress>,
    pub cache: Option<Cache>,
    pub mirror: Option<Mirror>,
    /// Pages for refusals and backends' errors, by status.
    pub errors: BTreeMap<u16, PathBuf>,
    /// Protocols that may be upgraded to, lower case.
    pub upgrade: Vec<String>,
    pub path_unsafe: Vec<UnsafeEscape>,
}

impl Route {
    pub const DEFAULT_MAX_BODY: u64 = 10 << 20;

    /// Every request of every listener, with every default.
    #[must_use]
    pub fn new(name: Name, target: Target) -> Self {
        Self {
            name,
            listeners: Vec::new(),
            matching: Match::default(),
            rewrite: Rewrite::default(),
            target,
            timeouts: RouteTimeouts::default(),
            retry: Retry::default(),
            max_body: Some(Self::DEFAULT_MAX_BODY),
            compress: None,
            cache: None,
            mirror: None,
            errors: BTreeMap::new(),
            upgrade: vec!["websocket".to_owned()],
            path_unsafe: Vec::new(),
        }
    }
    #[must_use]
    pub fn is_on(&self, listener: &Name) -> bool {
        self.listeners.is_empty() || self.listeners.contains(listener)
    }
    /// Every pool that it names, mirrors included.
    pub fn pools(&self) -> impl Iterator<Item = &Name> {
        let (one, split): (Option<&Name>, &[(Name, u32)]) = match &self.target {
            Target::Pool(name) => (Some(name), &[]),
            Target::Split(parts) => (None, parts),
            _ => (None, &[]),
        };
        one.into_iter().chain(split.iter().map(|(n, _)| n)).chain(self.mirror.iter().map(|m| &m.pool))
    }
}
