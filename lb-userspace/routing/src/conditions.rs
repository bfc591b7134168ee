//! What a route asks of a request besides host and path: methods, fields, parameters, cookies, sources.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::COOKIE;
use lb_model::http::{Match, ValueMatch};
use percent_encoding::percent_decode_str;

use crate::head::Head;

/// Whether all of them hold.
#[must_use]
pub fn hold(m: &Match, head: &Head<'_>) -> bool {
    (m.methods.is_empty() || m.methods.contains(head.method))
        && m.headers.iter().all(|(name, value)| field_holds(head.headers, name, value))
        && (m.query.is_empty() || m.query.iter().all(|(name, value)| parameter_holds(head.query, name, value)))
        && (m.cookies.is_empty() || m.cookies.iter().all(|(name, value)| cookie_holds(head.headers, name, value)))
        && (m.source.is_empty() || source_holds(m, head))
}

/// Any of the field's lines is the value, or there is one.
fn field_holds(headers: &HeaderMap, name: &http::HeaderName, value: &ValueMatch) -> bool {
    match value {
        ValueMatch::Present => headers.contains_key(name),
        ValueMatch::Exact(text) => headers.get_all(name).iter().any(|v| v.as_bytes() == text.as_bytes()),
    }
}

fn parameter_holds(query: Option<&str>, name: &str, value: &ValueMatch) -> bool {
    match (parameter(query.unwrap_or_default(), name), value) {
        (None, _) => false,
        (Some(_), ValueMatch::Present) => true,
        (Some(found), ValueMatch::Exact(text)) => found == text.as_bytes(),
    }
}

/// The first of the name in `a=b&c=d`, decoded, `+` as a space; bytes, as escapes need not be UTF-8.
#[must_use]
pub fn parameter<'q>(query: &'q str, name: &str) -> Option<Cow<'q, [u8]>> {
    query.split('&').filter(|pair| !pair.is_empty()).find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key) == name.as_bytes()).then(|| decoded(value))
    })
}

fn decoded(text: &str) -> Cow<'_, [u8]> {
    if text.contains('+') {
        Cow::Owned(percent_decode_str(&text.replace('+', " ")).collect())
    } else {
        percent_decode_str(text).into()
    }
}

fn cookie_holds(headers: &HeaderMap, name: &str, value: &ValueMatch) -> bool {
    match (cookie(headers, name), value) {
        (None, _) => false,
        (Some(_), ValueMatch::Present) => true,
        (Some(found), ValueMatch::Exact(text)) => found == text,
    }
}

/// The first cookie of the name, in any Cookie line, as sent (RFC 6265 §4.2.1).
#[must_use]
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

fn source_holds(m: &Match, head: &Head<'_>) -> bool {
    let source = head.source.to_canonical();
    m.source.iter().any(|p| p.contains(source))
}

/// The first that does not hold, in words.
#[must_use]
pub fn fault(m: &Match, head: &Head<'_>) -> Option<String> {
    if !m.methods.is_empty() && !m.methods.contains(head.method) {
        let named: Vec<&str> = m.methods.iter().map(http::Method::as_str).collect();
        return Some(format!("the method {} is not {}", head.method, named.join(" or ")));
    }
    let value = |v: &ValueMatch| match v {
        ValueMatch::Present => "is not there".to_owned(),
        ValueMatch::Exact(text) => format!("is not '{text}'"),
    };
    if let Some((name, v)) = m.headers.iter().find(|(name, v)| !field_holds(head.headers, name, v)) {
        return Some(format!("the field {name} {}", value(v)));
    }
    if let Some((name, v)) = m.query.iter().find(|(name, v)| !parameter_holds(head.query, name, v)) {
        return Some(format!("the parameter '{name}' {}", value(v)));
    }
    if let Some((name, v)) = m.cookies.iter().find(|(name, v)| !cookie_holds(head.headers, name, v)) {
        return Some(format!("the cookie '{name}' {}", value(v)));
    }
    (!m.source.is_empty() && !source_holds(m, head)).then(|| format!("{} is in none of its ranges", head.source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_repeated_parameter_counts_decoded() {
        let is =
            |query, name, value: &str| assert_eq!(parameter(query, name).as_deref(), Some(value.as_bytes()), "{query}");
        is("a=1&a=2", "a", "1");
        is("b=2&&a=x+y%26", "a", "x y&");
        is("%61=1", "a", "1");
        is("a", "a", "");
        is("a=b=c", "a", "b=c");
        assert_eq!(parameter("", ""), None);
        assert_eq!(parameter("ab=1", "a"), None);
    }

    #[test]
    fn cookies_of_every_line() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=1; b=2".parse().expect("a value"));
        headers.append(COOKIE, "c=; a=9".parse().expect("a value"));
        assert_eq!(cookie(&headers, "a"), Some("1"));
        assert_eq!(cookie(&headers, "c"), Some(""));
        assert_eq!(cookie(&headers, "d"), None);
    }
}
