//! `traceparent` and `tracestate` (W3C Trace Context): read, and written anew for the next hop.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{SpanId, TraceId};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A span that has begun.
#[derive(Clone, Debug)]
pub struct SpanStart {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    /// [`SpanId::INVALID`]: the trace begins here.
    pub(super) parent: SpanId,
    sampled: bool,
    pub(super) state: Option<String>,
    pub(super) at: SystemTime,
}

impl SpanStart {
    /// The client's trace goes on; without a valid `traceparent` one begins, and `tracestate` means nothing.
    pub(super) fn read(headers: &HeaderMap, at: SystemTime) -> Self {
        let span = SpanId::from(rand::random::<u64>() | 1);
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let parent = lines.next().and_then(|v| parse(v.to_str().ok()?)).filter(|_| lines.next().is_none());
        let Some((trace, parent, sampled)) = parent else {
            let trace = TraceId::from(rand::random::<u128>() | 1);
            return Self { trace, span, parent: SpanId::INVALID, sampled: false, state: None, at };
        };
        let state = headers.get(TRACESTATE).and_then(|v| v.to_str().ok()).map(str::to_owned);
        Self { trace, span, parent, sampled, state, at }
    }

    /// Whether the parent is sampled, if there is one.
    pub(super) fn parent_sampled(&self) -> Option<bool> {
        (self.parent != SpanId::INVALID).then_some(self.sampled)
    }

    pub(super) fn write(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::try_from(format!("00-{}-{}-01", self.trace, self.span)) {
            headers.insert(TRACEPARENT, value);
        }
        if self.parent_sampled().is_none() {
            headers.remove(TRACESTATE);
        }
    }
}

/// Trace, parent, sampled. A later version may have more fields behind these four (§4.3 of version 00's text).
fn parse(text: &str) -> Option<(TraceId, SpanId, bool)> {
    let mut fields = text.splitn(5, '-');
    let version = hex(fields.next()?, 2)?;
    let trace = TraceId::from(hex(fields.next()?, 32)?);
    let parent = SpanId::from(u64::try_from(hex(fields.next()?, 16)?).ok()?);
    let flags = hex(fields.next()?, 2)?;
    let known = version != 0xff && (version > 0 || fields.next().is_none());
    (known && trace != TraceId::INVALID && parent != SpanId::INVALID).then_some((trace, parent, flags & 1 == 1))
}

/// So many digits, in lower case as the text demands.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let valid = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if valid { u128::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(TRACEPARENT, line.parse().expect("a value"));
        }
        headers.insert(TRACESTATE, HeaderValue::from_static("a=1"));
        headers
    }

    #[test]
    fn a_trace_goes_on() {
        let mut headers = headers(&[PARENT]);
        let start = SpanStart::read(&headers, SystemTime::UNIX_EPOCH);
        assert_eq!(start.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((start.parent.to_string().as_str(), start.parent_sampled()), ("00f067aa0ba902b7", Some(true)));
        assert_ne!(start.span, start.parent);
        start.write(&mut headers);
        let written = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", start.span);
        assert_eq!(
            (&headers[TRACEPARENT], &headers[TRACESTATE]),
            (&HeaderValue::try_from(written).expect("a value"), &HeaderValue::from_static("a=1"))
        );
    }

    #[test]
    fn what_is_no_parent_begins_a_trace() {
        for lines in [
            &[][..],
            &[PARENT, PARENT],
            &[""],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x"],
            &["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
            &["00-00000000000000000000000000000000-00f067aa0ba902b7-01"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"],
            &["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"],
            &["00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
        ] {
            let mut headers = headers(lines);
            let start = SpanStart::read(&headers, SystemTime::UNIX_EPOCH);
            assert_eq!(start.parent_sampled(), None, "{lines:?}");
            start.write(&mut headers);
            assert_eq!(headers.get_all(TRACEPARENT).iter().count(), 1);
            assert!(!headers.contains_key(TRACESTATE));
        }
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        let later = headers(&["01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more"]);
        assert_eq!(SpanStart::read(&later, SystemTime::UNIX_EPOCH).parent_sampled(), Some(false));
    }
}
