//! A request's preconditions, judged against a file (RFC 9110 §13.2.2).

use std::time::{Duration, SystemTime};

use http::header::{ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderName, HeaderValue};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Send,
    NotModified,
    /// 412
    Failed,
}

/// In the order of RFC 9110 §13.2.2; of GET and HEAD. `fields`: the file's, with its tag.
pub(crate) fn judge(request: &HeaderMap, fields: &HeaderMap, modified: SystemTime) -> Verdict {
    let ours = fields.get(ETAG).map(HeaderValue::as_bytes).unwrap_or_default();
    let modified = whole_seconds(modified);
    if request.contains_key(IF_MATCH) {
        if !any(request, &IF_MATCH, |theirs| theirs == ours && !ours.starts_with(b"W/")) {
            return Verdict::Failed;
        }
    } else if date(request, &IF_UNMODIFIED_SINCE).is_some_and(|since| modified > since) {
        return Verdict::Failed;
    }
    if request.contains_key(IF_NONE_MATCH) {
        if any(request, &IF_NONE_MATCH, |theirs| opaque(theirs) == opaque(ours)) {
            return Verdict::NotModified;
        }
    } else if date(request, &IF_MODIFIED_SINCE).is_some_and(|since| modified <= since) {
        return Verdict::NotModified;
    }
    Verdict::Send
}

/// Dates in fields have no fractions.
pub(crate) fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

fn date(request: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(request.get(name)?.to_str().ok()?).ok()
}

/// `*`, or one of the listed tags; commas within quotes do not separate.
fn any(request: &HeaderMap, name: &HeaderName, same: impl Fn(&[u8]) -> bool) -> bool {
    request.get_all(name).iter().any(|list| {
        let mut quoted = false;
        let tags = list.as_bytes().split(move |b| {
            quoted ^= *b == b'"';
            *b == b',' && !quoted
        });
        tags.map(<[u8]>::trim_ascii).any(|tag| tag == b"*" || same(tag))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn each_condition() {
        let modified = httpdate::parse_http_date(AT).expect("a date") + Duration::from_millis(300);
        for (tag, request, verdict) in [
            ("\"a\"", &[][..], Verdict::Send),
            ("\"a\"", &[("if-none-match", "\"x\", W/\"a\"")], Verdict::NotModified),
            ("\"a\"", &[("if-none-match", "*")], Verdict::NotModified),
            ("\"a\"", &[("if-none-match", "\"b\""), ("if-modified-since", AT)], Verdict::Send),
            ("\"a\"", &[("if-modified-since", AT)], Verdict::NotModified),
            ("\"a\"", &[("if-modified-since", BEFORE)], Verdict::Send),
            ("\"a\"", &[("if-modified-since", "?")], Verdict::Send),
            ("\"a\"", &[("if-match", "\"a\"")], Verdict::Send),
            ("\"a\"", &[("if-match", "\"b\"")], Verdict::Failed),
            ("\"a\"", &[("if-match", "*")], Verdict::Send),
            ("W/\"a\"", &[("if-match", "W/\"a\"")], Verdict::Failed),
            ("\"a\"", &[("if-unmodified-since", BEFORE)], Verdict::Failed),
            ("\"a\"", &[("if-unmodified-since", AT)], Verdict::Send),
            ("\"a\"", &[("if-match", "\"a\""), ("if-unmodified-since", BEFORE)], Verdict::Send),
        ] {
            let fields: HeaderMap = [(ETAG, HeaderValue::from_static(tag))].into_iter().collect();
            assert_eq!(judge(&map(request), &fields, modified), verdict, "{tag} {request:?}");
        }
    }
}
