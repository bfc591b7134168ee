//! What a stored response is found by: the URL as the client wrote it, normalised.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

/// A request's URL in the router's normal form: scheme and host in lower case, the scheme's own port left out, the path
/// normalised before any rewriting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheKey<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// `host` or `host:port`.
    pub authority: &'a str,
    /// Begins with `/`.
    pub path: &'a str,
    /// Without the question mark.
    pub query: Option<&'a str>,
}

/// Seeded anew in each process, so that nobody can choose URLs that collide.
static SEED: LazyLock<foldhash::fast::RandomState> = LazyLock::new(foldhash::fast::RandomState::default);

/// A [`CacheKey`] with its hash: finds a [`Key`] without a string being built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lookup<'a> {
    pub(crate) key: CacheKey<'a>,
    hash: u64,
}

impl<'a> Lookup<'a> {
    pub(crate) fn new(key: CacheKey<'a>) -> Self {
        Self { key, hash: SEED.hash_one((key.scheme, key.authority, key.path, key.query)) }
    }
    pub(crate) fn to_key(self) -> Key {
        let CacheKey { scheme, authority, path, query } = self.key;
        let url = match query {
            Some(query) => format!("{scheme}://{authority}{path}?{query}"),
            None => format!("{scheme}://{authority}{path}"),
        };
        Key { hash: self.hash, url: url.into() }
    }
}

impl Hash for Lookup<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl quick_cache::Equivalent<Key> for Lookup<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        let CacheKey { scheme, authority, path, query } = self.key;
        let rest = |rest: &str| match query {
            Some(query) => rest.strip_prefix('?') == Some(query),
            None => rest.is_empty(),
        };
        self.hash == key.hash
            && key
                .url
                .strip_prefix(scheme)
                .and_then(|u| u.strip_prefix("://"))
                .and_then(|u| u.strip_prefix(authority))
                .and_then(|u| u.strip_prefix(path))
                .is_some_and(rest)
    }
}

/// The owned form.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key {
    hash: u64,
    pub(crate) url: Arc<str>,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Key {
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
    /// Of a normal URL (see [`normal`]); `None`: it is none.
    pub(crate) fn of_url(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let slash = rest.find('/')?;
        let (authority, target) = rest.split_at(slash);
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        Some(Lookup::new(CacheKey { scheme, authority, path, query }).to_key())
    }
    /// `scheme://authority`.
    pub(crate) fn origin(&self) -> &str {
        let host = self.url.find("://").map_or(0, |at| at + 3);
        let end = self.url[host..].find('/').map_or(self.url.len(), |at| host + at);
        &self.url[..end]
    }
}

/// A URL, or the beginning of one, as people write it, in the router's normal form (RFC 3986 §6.2.2): scheme and host in
/// lower case, default port off, unreserved escapes decoded, others in upper case, dot segments resolved, no fragment; at
/// least `/` for the path. `None`: it has no scheme or no host.
pub(crate) fn normal(url: &str) -> Option<String> {
    let url = url.split_once('#').map_or(url, |(before, _)| before);
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let authority = authority.to_ascii_lowercase();
    let default = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => return None,
    };
    let authority = authority.strip_suffix(default).unwrap_or(&authority);
    if authority.is_empty() {
        return None;
    }
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    let path = without_dots(&escapes(if path.is_empty() { "/" } else { path }));
    Some(match query {
        Some(query) => format!("{scheme}://{authority}{path}?{query}"),
        None => format!("{scheme}://{authority}{path}"),
    })
}

fn escapes(path: &str) -> String {
    let mut out = Vec::with_capacity(path.len());
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let mut rest = path.as_bytes();
    while let [byte, ahead @ ..] = rest {
        rest = ahead;
        match (*byte, hex(ahead.first()), hex(ahead.get(1))) {
            (b'%', Some(high), Some(low)) => {
                let decoded = high * 16 + low;
                if decoded.is_ascii_alphanumeric() || b"-._~".contains(&decoded) {
                    out.push(decoded);
                } else {
                    out.extend(format!("%{decoded:02X}").into_bytes());
                }
                rest = ahead.get(2..).unwrap_or_default();
            }
            _ => out.push(*byte),
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| path.to_owned())
}

fn without_dots(path: &str) -> String {
    if !path.contains("/.") {
        return path.to_owned();
    }
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        match *segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use quick_cache::Equivalent as _;

    use super::*;

    #[test]
    fn a_lookup_finds_its_key_and_no_other() {
        let key = |query| CacheKey { scheme: "https", authority: "a.test", path: "/x", query };
        let with = Lookup::new(key(Some("q=1")));
        let without = Lookup::new(key(None));
        assert!(with.equivalent(&with.to_key()));
        assert!(!with.equivalent(&without.to_key()));
        assert_eq!(Key::of_url("https://a.test/x?q=1").expect("a URL"), with.to_key());
        assert_eq!(with.to_key().origin(), "https://a.test");
        assert_ne!(Lookup::new(key(Some(""))).to_key(), without.to_key());
    }

    #[test]
    fn urls_become_normal() {
        for (written, normal_form) in [
            ("HTTPS://A.Test:443/x", Some("https://a.test/x")),
            ("http://a.test:8080", Some("http://a.test:8080/")),
            ("http://a.test/%7euser/%2f?A=%2f", Some("http://a.test/~user/%2F?A=%2f")),
            ("http://a.test/a/./b/../c", Some("http://a.test/a/c")),
            ("http://a.test/a//b/..", Some("http://a.test/a//")),
            ("http://a.test?x=1#f", Some("http://a.test/?x=1")),
            ("/x", None),
            ("http:///x", None),
        ] {
            assert_eq!(normal(written).as_deref(), normal_form, "{written}");
        }
    }
}
