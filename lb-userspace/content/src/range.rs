//! Which bytes of a file a request asks for (RFC 9110 §14).

use std::ops::Range;

use http::header::{ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue};

/// Parts that one request may ask for; more is an attack or a mistake, and gets the whole.
const MOST: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ranges {
    Whole,
    One(Range<u64>),
    /// In the order asked for.
    Several(Vec<Range<u64>>),
    /// 416
    Unsatisfiable,
}

/// `fields`: the file's, with tag and date. What is malformed or in other units counts as nothing (§14.2).
pub(crate) fn ranges(request: &HeaderMap, fields: &HeaderMap, length: u64) -> Ranges {
    let mut values = request.get_all(RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Ranges::Whole };
    let Some(list) = value.to_str().ok().and_then(|v| v.trim().strip_prefix("bytes=")) else { return Ranges::Whole };
    if !if_range(request, fields) {
        return Ranges::Whole;
    }
    let mut found = Vec::new();
    let mut asked = 0;
    for spec in list.split(',').map(str::trim).filter(|s| !s.is_empty()) {
        asked += 1;
        match one(spec, length) {
            Err(()) => return Ranges::Whole,
            Ok(None) => {}
            Ok(Some(range)) => found.push(range),
        }
    }
    // Parts that together are more than the whole are not worth it (§14.2: overlapping ranges).
    let total = found.iter().fold(0_u64, |sum, r| sum.saturating_add(r.end - r.start));
    match found.len() {
        _ if asked == 0 || asked > MOST => Ranges::Whole,
        0 => Ranges::Unsatisfiable,
        1 => Ranges::One(found.swap_remove(0)),
        _ if total > length => Ranges::Whole,
        _ => Ranges::Several(found),
    }
}

/// `Ok(None)`: beyond the end.
fn one(spec: &str, length: u64) -> Result<Option<Range<u64>>, ()> {
    let (first, last) = spec.split_once('-').ok_or(())?;
    let number = |text: &str| -> Result<Option<u64>, ()> {
        match text.trim() {
            "" => Ok(None),
            // Too large to count is past every end.
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => Ok(Some(digits.parse().unwrap_or(u64::MAX))),
            _ => Err(()),
        }
    };
    match (number(first)?, number(last)?) {
        (None, None) => Err(()),
        (Some(first), Some(last)) if last < first => Err(()),
        (Some(first), _) if first >= length => Ok(None),
        (Some(first), last) => Ok(Some(first..last.map_or(length, |l| l.saturating_add(1).min(length)))),
        (None, Some(suffix)) => Ok((suffix.min(length) > 0).then(|| length - suffix.min(length)..length)),
    }
}

/// §13.1.5: the strong tag, or the very date.
fn if_range(request: &HeaderMap, fields: &HeaderMap) -> bool {
    let Some(condition) = request.get(IF_RANGE).map(|v| v.as_bytes().trim_ascii()) else { return true };
    let tag = fields.get(ETAG).map(HeaderValue::as_bytes).unwrap_or_default();
    if condition.ends_with(b"\"") {
        return condition == tag && !tag.starts_with(b"W/");
    }
    fields.get(LAST_MODIFIED).is_some_and(|at| at.as_bytes() == condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, expected) in [
            ("bytes=0-4", Ranges::One(0..5)),
            ("bytes=-3", Ranges::One(7..10)),
            ("bytes=8-", Ranges::One(8..10)),
            ("bytes=0-0, -1", Ranges::Several(vec![0..1, 9..10])),
            ("bytes=0-0,99-", Ranges::One(0..1)),
            ("bytes=10-", Ranges::Unsatisfiable),
            ("bytes=-0", Ranges::Unsatisfiable),
            ("bytes=0-9,0-9", Ranges::Whole),
            ("bytes=3-1", Ranges::Whole),
            ("bytes=-", Ranges::Whole),
            ("bytes=", Ranges::Whole),
            ("bytes=+1-2", Ranges::Whole),
            ("chapters=1-2", Ranges::Whole),
            ("bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9,0-0,1-1,2-2,3-3,4-4,5-5,6-6", Ranges::Whole),
            ("bytes=18446744073709551616-", Ranges::Unsatisfiable),
            ("bytes=0-18446744073709551615", Ranges::One(0..10)),
        ] {
            let request: HeaderMap = [(RANGE, HeaderValue::from_static(text))].into_iter().collect();
            assert_eq!(ranges(&request, &HeaderMap::new(), 10), expected, "{text}");
        }
    }
}
