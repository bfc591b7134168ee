//! A request's path in its normal form (RFC 3986 §6.2.2): what is matched is what is forwarded.

use std::borrow::Cow;

use lb_model::http::UnsafeEscape;

/// Escapes that servers read in different ways; a route must allow them by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Escapes(u8);

impl Escapes {
    const fn bit(escape: UnsafeEscape) -> u8 {
        match escape {
            UnsafeEscape::Nul => 1,
            UnsafeEscape::Slash => 2,
            UnsafeEscape::Backslash => 4,
        }
    }
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// The first that is not among the allowed.
    #[must_use]
    pub fn beyond(self, allowed: &[UnsafeEscape]) -> Option<UnsafeEscape> {
        UnsafeEscape::ALL.into_iter().find(|e| self.0 & Self::bit(*e) != 0 && !allowed.contains(e))
    }
}

/// A normal path: it begins with a slash, has no dot segments, no escape of an unreserved byte, and escapes in upper
/// case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normal<'a> {
    pub path: Cow<'a, str>,
    pub escapes: Escapes,
}

#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum PathFault {
    #[error("the path does not begin with a slash")]
    Start,
    #[error("the path has a byte that must not stand there")]
    Byte,
    #[error("the path has a % that is no escape")]
    Escape,
    /// `..;` and the like: a parent to some servers, a name to others.
    #[error("the path has a dot segment with parameters")]
    DotParameters,
}

/// Bytes that are never in a path as they are: controls, space, `#`, `?`, `\`, DEL and beyond ASCII.
const fn is_foreign(b: u8) -> bool {
    b <= b' ' || b >= 0x7f || matches!(b, b'#' | b'?' | b'\\')
}

const fn is_unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')
}

/// Brings a path (without query) to its normal form; borrowed if it is there already.
///
/// Unreserved bytes are decoded, other escapes put in upper case, dot segments resolved once, after that; `//` is kept.
///
/// # Errors
/// [`PathFault`]: the request is not valid.
pub fn normalise(raw: &str) -> Result<Normal<'_>, PathFault> {
    if !raw.starts_with('/') {
        return Err(PathFault::Start);
    }
    let mut plain = true;
    let mut before = 0;
    for &b in raw.as_bytes() {
        if is_foreign(b) {
            return Err(PathFault::Byte);
        }
        plain &= b != b'%' && !(b == b'.' && before == b'/');
        before = b;
    }
    if plain {
        return Ok(Normal { path: Cow::Borrowed(raw), escapes: Escapes::default() });
    }
    let (decoded, escapes) = decode(raw)?;
    let path = resolve(&decoded)?;
    let path = if path == raw { Cow::Borrowed(raw) } else { Cow::Owned(path) };
    Ok(Normal { path, escapes })
}

fn decode(raw: &str) -> Result<(String, Escapes), PathFault> {
    let mut out = String::with_capacity(raw.len());
    let mut escapes = Escapes::default();
    let mut rest = raw;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let digits = rest.get(at + 1..at + 3).ok_or(PathFault::Escape)?;
        if !digits.bytes().all(|d| d.is_ascii_hexdigit()) {
            return Err(PathFault::Escape);
        }
        let byte = u8::from_str_radix(digits, 16).map_err(|_| PathFault::Escape)?;
        if is_unreserved(byte) {
            out.push(char::from(byte));
        } else {
            escapes.0 |= match byte {
                0 => Escapes::bit(UnsafeEscape::Nul),
                b'/' => Escapes::bit(UnsafeEscape::Slash),
                b'\\' => Escapes::bit(UnsafeEscape::Backslash),
                _ => 0,
            };
            out.push('%');
            out.extend(digits.chars().map(|c| c.to_ascii_uppercase()));
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    Ok((out, escapes))
}

/// RFC 3986 §5.2.4, of a path that begins with a slash.
fn resolve(path: &str) -> Result<String, PathFault> {
    let mut out = String::with_capacity(path.len());
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." if last => out.push('/'),
            "." => {}
            ".." => {
                out.truncate(out.rfind('/').unwrap_or(0));
                if last {
                    out.push('/');
                }
            }
            _ if segment.starts_with(".;") || segment.starts_with("..;") => return Err(PathFault::DotParameters),
            _ => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    if out.is_empty() {
        out.push('/');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(raw: &str) -> Result<String, PathFault> {
        normalise(raw).map(|n| n.path.into_owned())
    }

    #[test]
    fn normal_forms() {
        for (raw, path) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a//b", "/a//b"),
            ("/%61%7e%2D", "/a~-"),
            ("/a%3ab%2B", "/a%3Ab%2B"),
            ("/a/./b/../c", "/a/c"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/..", "/"),
            ("/../../x", "/x"),
            ("/a/%2e%2e/b", "/b"),
            ("/a/%2E./b", "/b"),
            ("/a//../b", "/a/b"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a;b=c/d", "/a;b=c/d"),
            ("/%252e", "/%252e"),
            ("/...", "/..."),
        ] {
            assert_eq!(normal(raw), Ok(path.to_owned()), "{raw}");
        }
    }

    #[test]
    fn faults() {
        for (raw, fault) in [
            ("", PathFault::Start),
            ("a", PathFault::Start),
            ("*", PathFault::Start),
            ("/a b", PathFault::Byte),
            ("/a\\b", PathFault::Byte),
            ("/a#b", PathFault::Byte),
            ("/\u{e9}", PathFault::Byte),
            ("/\u{7f}", PathFault::Byte),
            ("/%", PathFault::Escape),
            ("/%4", PathFault::Escape),
            ("/%zz", PathFault::Escape),
            ("/%+1", PathFault::Escape),
            ("/a/..;/b", PathFault::DotParameters),
            ("/a/.;x", PathFault::DotParameters),
            ("/a/%2e%2e;x", PathFault::DotParameters),
        ] {
            assert_eq!(normal(raw), Err(fault), "{raw}");
        }
    }

    #[test]
    fn doubtful_escapes_are_noted_and_kept() {
        let all = normalise("/a%2fb%5C%00").expect("a path");
        assert_eq!(all.path, "/a%2Fb%5C%00");
        assert_eq!(all.escapes.beyond(&[]), Some(UnsafeEscape::Nul));
        assert_eq!(all.escapes.beyond(&[UnsafeEscape::Nul, UnsafeEscape::Slash]), Some(UnsafeEscape::Backslash));
        assert_eq!(all.escapes.beyond(&UnsafeEscape::ALL), None);
        assert!(normalise("/a%20").expect("a path").escapes.is_empty());
        assert_eq!(normalise("/a/%2e%2e%2fb").expect("a path").path, "/a/..%2Fb");
    }

    #[test]
    fn what_is_normal_is_borrowed() {
        for raw in ["/", "/a/b.c", "/a%2F", "/.git"] {
            assert!(matches!(normalise(raw).expect("a path").path, Cow::Borrowed(_)), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn once_is_enough(raw in "/([a-c./;%]|%2e|%2f|%41|%3b){0,24}") {
            if let Ok(first) = normalise(&raw) {
                let again = normalise(&first.path).expect("normal");
                prop_assert_eq!(&again.path, &first.path);
                prop_assert!(first.path.starts_with('/'));
                prop_assert!(first.path[1..].split('/').all(|s| s != "." && s != ".."), "{}", first.path);
                // A doubtful escape in a segment that `..` took away is still refused.
                prop_assert!(again.escapes.is_empty() || !first.escapes.is_empty());
            }
        }
    }
}
