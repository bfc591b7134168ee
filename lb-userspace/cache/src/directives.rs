//! Cache-Control of requests and responses (RFC 9111 §5.2, RFC 5861), read so that what is malformed permits less.

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderName};

/// Ages are cut to this (RFC 9111 §1.2.2), in seconds.
pub const MAX_SECONDS: u64 = 1 << 31;

/// `no-cache` and `private` may name fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    #[default]
    Absent,
    /// The whole response.
    All,
    /// These fields of it.
    Fields(Vec<HeaderName>),
}

impl Scope {
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::All
    }
    #[must_use]
    pub fn fields(&self) -> &[HeaderName] {
        if let Self::Fields(names) = self { names } else { &[] }
    }
    fn add(&mut self, argument: Option<&[u8]>) {
        let named = argument.map(names).unwrap_or_default();
        match self {
            Self::All => {}
            _ if named.is_empty() => *self = Self::All,
            Self::Absent => *self = Self::Fields(named),
            Self::Fields(all) => all.extend(named),
        }
    }
}

/// All directives that mean something to a shared cache. Durations in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// There is a Cache-Control field.
    pub present: bool,
    pub max_age: Option<u64>,
    pub s_maxage: Option<u64>,
    /// Without an argument: [`MAX_SECONDS`].
    pub max_stale: Option<u64>,
    pub min_fresh: Option<u64>,
    pub stale_while_revalidate: Option<u64>,
    pub stale_if_error: Option<u64>,
    pub no_cache: Scope,
    pub private: Scope,
    pub no_store: bool,
    pub no_transform: bool,
    pub only_if_cached: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub public: bool,
}

/// Of Cache-Control alone. Never fails: an argument that is no number counts as 0, an unknown directive as nothing.
#[must_use]
pub fn parse(headers: &HeaderMap) -> Directives {
    let mut found = Directives::default();
    for value in headers.get_all(CACHE_CONTROL) {
        found.present = true;
        let mut rest = value.as_bytes();
        while let Some((name, argument)) = next(&mut rest) {
            found.take(name, argument);
        }
    }
    found
}

/// Of a request: Pragma counts if there is no Cache-Control (RFC 9111 §5.4).
#[must_use]
pub fn parse_request(headers: &HeaderMap) -> Directives {
    let mut found = parse(headers);
    if !found.present {
        for value in headers.get_all(PRAGMA) {
            let mut rest = value.as_bytes();
            while let Some((name, _)) = next(&mut rest) {
                if name.eq_ignore_ascii_case(b"no-cache") {
                    found.no_cache = Scope::All;
                }
            }
        }
    }
    found
}

impl Directives {
    fn take(&mut self, name: &[u8], argument: Option<&[u8]>) {
        let mut lower = [0_u8; 24];
        let Some(lower) = lower.get_mut(..name.len()) else { return };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let number = argument.map_or(0, seconds);
        match &*lower {
            b"max-age" => least(&mut self.max_age, number),
            b"s-maxage" => least(&mut self.s_maxage, number),
            b"max-stale" => least(&mut self.max_stale, argument.map_or(MAX_SECONDS, seconds)),
            b"min-fresh" => self.min_fresh = Some(self.min_fresh.map_or(number, |old| old.max(number))),
            b"stale-while-revalidate" => least(&mut self.stale_while_revalidate, number),
            b"stale-if-error" => least(&mut self.stale_if_error, number),
            b"no-cache" => self.no_cache.add(argument),
            b"private" => self.private.add(argument),
            b"no-store" => self.no_store = true,
            b"no-transform" => self.no_transform = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"public" => self.public = true,
            _ => {}
        }
    }
}

/// Of a directive that is there twice, the smaller counts: what contradicts itself permits less (RFC 9111 §4.2.1).
fn least(kept: &mut Option<u64>, number: u64) {
    *kept = Some(kept.map_or(number, |old| old.min(number)));
}

/// Digits only; anything else is 0, which is stale.
fn seconds(argument: &[u8]) -> u64 {
    if argument.is_empty() || !argument.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    argument.iter().fold(0_u64, |sum, digit| (sum * 10 + u64::from(digit - b'0')).min(MAX_SECONDS))
}

/// A list of field names; empty if one of them is none, so that the directive counts for the whole response.
fn names(list: &[u8]) -> Vec<HeaderName> {
    let mut found = Vec::new();
    for name in list.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|n| !n.is_empty()) {
        match HeaderName::from_bytes(name) {
            Ok(name) => found.push(name),
            Err(_) => return Vec::new(),
        }
    }
    found
}

/// The next `token[=token|=quoted-string]` of a list (RFC 9110 §5.6); quoted arguments come without the quotes.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let start = rest.iter().position(|b| !matches!(b, b',' | b' ' | b'\t'))?;
    let text = &rest[start..];
    let end = text.iter().position(|b| matches!(b, b',' | b'=')).unwrap_or(text.len());
    let name = text[..end].trim_ascii_end();
    if text.get(end) != Some(&b'=') {
        *rest = &text[end..];
        return Some((name, None));
    }
    let text = text[end + 1..].trim_ascii_start();
    if let Some(quoted) = text.strip_prefix(b"\"") {
        let mut escaped = false;
        let end = quoted.iter().position(|b| match b {
            _ if escaped => {
                escaped = false;
                false
            }
            b'\\' => {
                escaped = true;
                false
            }
            b => *b == b'"',
        });
        let (argument, after) = end.map_or((quoted, &[][..]), |end| (&quoted[..end], &quoted[end + 1..]));
        let comma = after.iter().position(|b| *b == b',').unwrap_or(after.len());
        *rest = &after[comma..];
        return Some((name, Some(argument)));
    }
    let end = text.iter().position(|b| *b == b',').unwrap_or(text.len());
    *rest = &text[end..];
    Some((name, Some(text[..end].trim_ascii())))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Directives {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_str(text).expect("a field value"));
        parse(&headers)
    }

    #[test]
    fn numbers() {
        for (text, max_age) in [
            ("max-age=60", Some(60)),
            ("MAX-AGE = 60", Some(60)),
            ("max-age=\"60\"", Some(60)),
            ("max-age=60, max-age=5", Some(5)),
            ("max-age=-1", Some(0)),
            ("max-age=1.5", Some(0)),
            ("max-age=", Some(0)),
            ("max-age", Some(0)),
            ("max-age=99999999999999999999", Some(MAX_SECONDS)),
            (",, max-age=60 ,", Some(60)),
            ("x=\"a, max-age=5\", max-age=60", Some(60)),
            ("x=\"a\\\", max-age=5\", max-age=60", Some(60)),
            ("s-maxage=60", None),
        ] {
            assert_eq!(of(text).max_age, max_age, "{text}");
        }
        assert_eq!(of("max-stale").max_stale, Some(MAX_SECONDS));
        assert_eq!(of("max-stale=5").max_stale, Some(5));
        assert_eq!(of("min-fresh=5, min-fresh=9").min_fresh, Some(9));
    }

    #[test]
    fn scopes() {
        assert_eq!(of("no-cache").no_cache, Scope::All);
        assert_eq!(of("no-cache=\"Set-Cookie, X-A\"").no_cache.fields().len(), 2);
        assert_eq!(of("private=\"x y\"").private, Scope::All, "no field name: the whole response");
        assert_eq!(of("private=x, private").private, Scope::All);
        assert_eq!(of("public").private, Scope::Absent);
    }

    #[test]
    fn pragma_counts_alone() {
        let mut headers = HeaderMap::new();
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        assert!(parse_request(&headers).no_cache.is_all());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=1"));
        assert!(!parse_request(&headers).no_cache.is_all());
    }

    proptest! {
        #[test]
        fn any_bytes_parse(bytes in proptest::collection::vec(prop_oneof![32_u8..127, Just(b'"'), Just(b'\\'), Just(b','), Just(b'='), 128_u8..], 0..80)) {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_bytes(&bytes).expect("visible"));
            let found = parse(&headers);
            prop_assert!(found.present);
            prop_assert!(found.max_age.is_none_or(|s| s <= MAX_SECONDS));
        }

        #[test]
        fn order_and_padding_say_nothing(age in 0_u64..1_000_000, pad in "[ ,\t]{0,5}") {
            let one = of(&format!("no-store,{pad} max-age={age} ,private"));
            let other = of(&format!("private{pad}, max-age={age},no-store"));
            prop_assert_eq!(&one, &other);
            prop_assert_eq!(one.max_age, Some(age));
            prop_assert!(one.no_store && one.private.is_all());
        }
    }
}
