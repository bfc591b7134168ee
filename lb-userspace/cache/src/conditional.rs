//! A client's own conditions and ranges, judged against a stored response (RFC 9110 §13, §14; RFC 9111 §4.3.2).

use std::ops::Range;
use std::time::SystemTime;

use http::header::{DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue};

/// What of the body is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    /// Of bytes, not empty.
    Bytes(Range<usize>),
    /// 416
    Unsatisfiable,
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

pub(crate) fn weakly_equal(a: &[u8], b: &[u8]) -> bool {
    opaque(a) == opaque(b)
}

fn instant(value: Option<&HeaderValue>) -> Option<SystemTime> {
    httpdate::parse_http_date(value?.to_str().ok()?).ok()
}

/// Entity tags of a list, quotes included; commas within quotes do not separate.
fn tags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    list.split(move |b| {
        quoted ^= *b == b'"';
        *b == b',' && !quoted
    })
    .map(<[u8]>::trim_ascii)
    .filter(|t| !t.is_empty())
}

/// The client has it already: 304. `response` are the stored fields.
pub(crate) fn not_modified(request: &HeaderMap, response: &HeaderMap) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let ours = response.get(ETAG).map(HeaderValue::as_bytes);
        return request
            .get_all(IF_NONE_MATCH)
            .iter()
            .any(|list| tags(list.as_bytes()).any(|t| t == b"*" || ours.is_some_and(|ours| weakly_equal(t, ours))));
    }
    let Some(since) = instant(request.get(IF_MODIFIED_SINCE)) else { return false };
    // §4.3.2: without Last-Modified, Date is compared.
    instant(response.get(LAST_MODIFIED).or_else(|| response.get(DATE))).is_some_and(|at| at <= since)
}

/// Which part of a body of `length` bytes. Several ranges, other units and what is malformed: the whole (RFC 9110 §14.2).
pub(crate) fn part(request: &HeaderMap, response: &HeaderMap, length: usize) -> Part {
    let Some(range) = request.get(RANGE) else { return Part::Whole };
    if request.get_all(RANGE).iter().nth(1).is_some() || !if_range(request, response) {
        return Part::Whole;
    }
    let Some(spec) = range.to_str().ok().and_then(|r| r.trim().strip_prefix("bytes=")) else { return Part::Whole };
    let Some((first, last)) = spec.split_once('-').filter(|_| !spec.contains(',')) else { return Part::Whole };
    let number = |text: &str| -> Option<Option<usize>> {
        let text = text.trim();
        if text.is_empty() {
            return Some(None);
        }
        // Too large to count is past every end.
        text.bytes().all(|b| b.is_ascii_digit()).then(|| Some(text.parse().unwrap_or(usize::MAX)))
    };
    match (number(first), number(last)) {
        (Some(Some(first)), Some(last)) => match last {
            Some(last) if last < first => Part::Whole,
            _ if first >= length => Part::Unsatisfiable,
            last => Part::Bytes(first..last.map_or(length, |l| l.saturating_add(1)).min(length)),
        },
        (Some(None), Some(Some(suffix))) => match suffix.min(length) {
            0 => Part::Unsatisfiable,
            suffix => Part::Bytes(length - suffix..length),
        },
        _ => Part::Whole,
    }
}

/// RFC 9110 §13.1.5: a strong tag, or the very date.
fn if_range(request: &HeaderMap, response: &HeaderMap) -> bool {
    let Some(condition) = request.get(IF_RANGE) else { return true };
    let condition = condition.as_bytes().trim_ascii();
    if condition.starts_with(b"\"") || condition.starts_with(b"W/") {
        return !condition.starts_with(b"W/") && response.get(ETAG).is_some_and(|e| e.as_bytes() == condition);
    }
    let modified = instant(response.get(LAST_MODIFIED));
    let asked = std::str::from_utf8(condition).ok().and_then(|t| httpdate::parse_http_date(t).ok());
    modified.is_some() && modified == asked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (http::HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    const EARLY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATE: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

    #[test]
    fn conditions() {
        for (request, response, expected) in [
            (("if-none-match", "\"a\""), ("etag", "\"a\""), true),
            (("if-none-match", "W/\"a\", \"b\""), ("etag", "\"a\""), true),
            (("if-none-match", "\"b\""), ("etag", "\"a\""), false),
            (("if-none-match", "\"x,\\\"a\""), ("etag", "\"a\""), false),
            (("if-none-match", "*"), ("x", "y"), true),
            (("if-modified-since", LATE), ("last-modified", EARLY), true),
            (("if-modified-since", EARLY), ("last-modified", LATE), false),
            (("if-modified-since", LATE), ("date", EARLY), true),
            (("if-modified-since", "soon"), ("last-modified", EARLY), false),
        ] {
            assert_eq!(not_modified(&map(&[request]), &map(&[response])), expected, "{request:?} {response:?}");
        }
        let both = map(&[("if-none-match", "\"b\""), ("if-modified-since", LATE)]);
        assert!(!not_modified(&both, &map(&[("etag", "\"a\""), ("last-modified", EARLY)])), "the tag decides");
    }

    #[test]
    fn ranges() {
        for (range, expected) in [
            ("bytes=0-4", Part::Bytes(0..5)),
            ("bytes=5-", Part::Bytes(5..10)),
            ("bytes=-3", Part::Bytes(7..10)),
            ("bytes=-30", Part::Bytes(0..10)),
            ("bytes=5-99", Part::Bytes(5..10)),
            ("bytes=10-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=5-4", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("bytes=a-1", Part::Whole),
            ("bytes=99999999999999999999999-", Part::Unsatisfiable),
        ] {
            assert_eq!(part(&map(&[("range", range)]), &map(&[]), 10), expected, "{range}");
        }
    }

    #[test]
    fn if_range_is_strong() {
        for (condition, expected) in [
            ("\"a\"", Part::Bytes(0..1)),
            ("\"b\"", Part::Whole),
            ("W/\"a\"", Part::Whole),
            (EARLY, Part::Bytes(0..1)),
            (LATE, Part::Whole),
        ] {
            let request = map(&[("range", "bytes=0-0"), ("if-range", condition)]);
            assert_eq!(
                part(&request, &map(&[("etag", "\"a\""), ("last-modified", EARLY)]), 10),
                expected,
                "{condition}"
            );
        }
    }
}
