//! The addresses a request came through, as X-Forwarded-For and Forwarded (RFC 7239) tell them.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderValue};

/// From the client's side to ours; `None`: no address (`unknown`, an obfuscated name, garbage).
pub(crate) type Chain = Vec<Option<IpAddr>>;

/// X-Forwarded-For's; Forwarded's where there is none.
pub(crate) fn read(headers: &HeaderMap) -> Chain {
    if !headers.contains_key("x-forwarded-for") {
        return of_forwarded(headers);
    }
    let mut chain = Chain::new();
    for value in headers.get_all("x-forwarded-for") {
        chain.extend(value.as_bytes().split(|&b| b == b',').map(|e| std::str::from_utf8(e).ok().and_then(node)));
    }
    chain
}

pub(crate) fn of_forwarded(headers: &HeaderMap) -> Chain {
    let mut chain = Chain::new();
    for value in headers.get_all(FORWARDED) {
        of_line(value, &mut chain);
    }
    chain
}

fn of_line(value: &HeaderValue, chain: &mut Chain) {
    let Ok(text) = value.to_str() else { return chain.push(None) };
    let Some(elements) = outside_quotes(text, ',') else { return chain.push(None) };
    for element in elements {
        chain.push(for_of(element));
    }
}

/// The address of an element's one `for`.
fn for_of(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in outside_quotes(element, ';')? {
        let (name, value) = pair.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("for") && found.replace(value.trim()).is_some() {
            return None;
        }
    }
    let value = found?;
    match value.strip_prefix('"') {
        Some(quoted) => node(quoted.strip_suffix('"')?),
        None => node(value),
    }
}

/// Splits; `None` if a quote has no end.
fn outside_quotes(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match c {
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted).then_some(parts)
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    bare.unwrap_or(text)
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|a| a.ip()))
        .map(|a| a.to_canonical())
}

/// As X-Forwarded-For.
pub(crate) fn as_list(chain: &[Option<IpAddr>]) -> String {
    let mut text = String::new();
    for element in chain {
        text.push_str(if text.is_empty() { "" } else { ", " });
        match element {
            Some(address) => {
                let _ = write!(text, "{address}");
            }
            None => text.push_str("unknown"),
        }
    }
    text
}

/// As Forwarded.
pub(crate) fn as_forwarded(chain: &[Option<IpAddr>]) -> String {
    let mut text = String::new();
    for element in chain {
        text.push_str(if text.is_empty() { "for=" } else { ", for=" });
        match element {
            Some(address) => push_node(&mut text, *address),
            None => text.push_str("unknown"),
        }
    }
    text
}

/// A node as `for` has it: IPv6 in brackets and quotes (RFC 7239 §6).
pub(crate) fn push_node(text: &mut String, address: IpAddr) {
    let _ = match address {
        IpAddr::V4(address) => write!(text, "{address}"),
        IpAddr::V6(address) => write!(text, "\"[{address}]\""),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &'static str, value: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).expect("a value"));
        as_list(&read(&headers))
    }

    #[test]
    fn elements_as_proxies_write_them() {
        assert_eq!(
            of("x-forwarded-for", "1.1.1.1,2.2.2.2 ,\t[::1]:9, ::ffff:3.3.3.3"),
            "1.1.1.1, 2.2.2.2, ::1, 3.3.3.3"
        );
        assert_eq!(of("forwarded", "For=\"1.1.1.1:80\";by=x, proto=http;for=2.2.2.2"), "1.1.1.1, 2.2.2.2");
        assert_eq!(of("forwarded", "for=1.1.1.1;host=\"a,b;for=6.6.6.6\""), "1.1.1.1");
        assert_eq!(of("forwarded", "for=1.1.1.1;host=\"a\\\",for=6.6.6.6\""), "1.1.1.1");
    }

    #[test]
    fn what_is_no_address_is_said_so() {
        for value in [
            "for=unknown",
            "for=_x",
            "for=\"1.1.1.1",
            "for=1.1.1.1;for=2.2.2.2",
            "host=a",
            "garbage",
            "for=",
            "for=\"\"",
        ] {
            assert_eq!(of("forwarded", value), "unknown", "{value}");
        }
        for value in ["", "a", "1.1.1", "1.1.1.1.1", "[1.1.1.1", "1.1.1.1 2.2.2.2", "999.1.1.1"] {
            assert_eq!(of("x-forwarded-for", value), "unknown", "{value}");
        }
    }
}
