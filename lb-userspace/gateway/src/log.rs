//! The access line (CONTRACT.md, "JSON that scripts rely on"; PROXY.md, "Access log"), written into a buffer by hand.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderValue, Version};
use lb_model::AccessLogFormat;

use crate::digits;
use crate::record::Record;

/// One line with its end.
pub(crate) fn line(
    out: &mut Vec<u8>,
    format: AccessLogFormat,
    record: &Record,
    bytes_out: u64,
    took: Duration,
    wall: SystemTime,
) {
    match format {
        AccessLogFormat::Json => {
            object(out, record, bytes_out, took, wall);
            out.extend_from_slice(b"}\n");
        }
        AccessLogFormat::Combined => combined(out, record, bytes_out, wall),
    }
}

/// The JSON object, without its closing brace.
pub(crate) fn object(out: &mut Vec<u8>, r: &Record, bytes_out: u64, took: Duration, wall: SystemTime) {
    let began = wall.checked_sub(took).unwrap_or(wall);
    out.extend_from_slice(b"{\"time\":\"");
    rfc3339(out, began);
    out.extend_from_slice(b"\",\"request_id\":");
    text(out, r.request_id.as_bytes());
    out.extend_from_slice(b",\"listener\":");
    text(out, r.site.listener.name.as_str().as_bytes());
    out.extend_from_slice(b",\"route\":");
    optional(out, r.road.as_ref().map(|road| road.route.name.as_str().as_bytes()));
    // Consumers and versions come with the gateway's policies.
    out.extend_from_slice(b",\"consumer\":null,\"version\":null,\"client\":\"");
    digits::address(out, r.client);
    out.extend_from_slice(b"\",\"method\":");
    let head = r.head.as_ref();
    optional(out, head.map(|h| h.method.as_str().as_bytes()));
    out.extend_from_slice(b",\"host\":");
    optional(out, head.and_then(|h| h.host.as_ref()).map(HeaderValue::as_bytes));
    out.extend_from_slice(b",\"path\":");
    optional(out, head.map(|h| h.uri.path().as_bytes()));
    out.extend_from_slice(b",\"status\":");
    digits::number(out, r.status.into());
    out.extend_from_slice(b",\"reason\":");
    optional(out, r.reason.map(|reason| reason.name().as_bytes()));
    match r.backend {
        Some(backend) => {
            out.extend_from_slice(b",\"backend\":\"");
            digits::socket(out, backend);
            out.push(b'"');
        }
        None => out.extend_from_slice(b",\"backend\":null"),
    }
    out.extend_from_slice(b",\"pool\":");
    optional(out, r.pool.as_ref().map(|(name, _)| name.as_str().as_bytes()));
    out.extend_from_slice(b",\"bytes_in\":");
    digits::number(out, r.bytes_in());
    out.extend_from_slice(b",\"bytes_out\":");
    digits::number(out, bytes_out);
    out.extend_from_slice(b",\"duration_ms\":");
    milliseconds(out, took);
    out.extend_from_slice(b",\"backend_ms\":");
    match r.backend_took {
        Some(took) => milliseconds(out, took),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"retries\":");
    digits::number(out, r.retries.into());
    out.extend_from_slice(b",\"cache\":");
    optional(out, r.cache.map(str::as_bytes));
    out.extend_from_slice(b",\"tls\":");
    optional(out, r.connection.tls.as_ref().map(|t| t.version.as_bytes()));
    out.extend_from_slice(b",\"protocol\":");
    optional(out, head.map(|h| protocol(h.version).as_bytes()));
}

fn combined(out: &mut Vec<u8>, r: &Record, bytes_out: u64, wall: SystemTime) {
    let _ = write!(out, "{} - - [", r.client);
    clf_time(out, wall);
    out.extend_from_slice(b"] \"");
    match &r.head {
        Some(h) => {
            inside(out, h.method.as_str().as_bytes());
            out.push(b' ');
            inside(out, h.uri.path().as_bytes());
            let _ = write!(out, " {}", protocol(h.version));
        }
        None => out.push(b'-'),
    }
    let _ = write!(out, "\" {} {bytes_out} \"", r.status);
    for (at, field) in
        [r.head.as_ref().and_then(|h| h.referer.as_ref()), r.head.as_ref().and_then(|h| h.agent.as_ref())]
            .into_iter()
            .enumerate()
    {
        if at > 0 {
            out.extend_from_slice(b"\" \"");
        }
        match field {
            Some(value) => inside(out, value.as_bytes()),
            None => out.push(b'-'),
        }
    }
    out.extend_from_slice(b"\"\n");
}

pub(crate) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

fn optional(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) => text(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

/// A JSON string.
pub(crate) fn text(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    inside(out, value);
    out.push(b'"');
}

/// Nothing that ends a string or a line, moves a cursor or turns the writing direction gets through as it is.
fn inside(out: &mut Vec<u8>, value: &[u8]) {
    if value.iter().all(|b| (0x20..0x7f).contains(b) && *b != b'"' && *b != b'\\') {
        out.extend_from_slice(value);
        return;
    }
    for c in String::from_utf8_lossy(value).chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            c if c.is_control() || is_directional(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Marks, embeddings, overrides and isolates of the bidirectional algorithm (UAX #9 §2), and line separators.
const fn is_directional(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn milliseconds(out: &mut Vec<u8>, took: Duration) {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    digits::number(out, micros / 1000);
    out.push(b'.');
    digits::padded(out, micros % 1000, 3);
}

/// Year, month, day of a count of days since 1970 (Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// `2026-01-31T12:34:56.789Z`
pub(crate) fn rfc3339(out: &mut Vec<u8>, at: SystemTime) {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs(), since.subsec_millis());
    let (year, month, day) = civil(seconds / 86_400);
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    for (before, n, width) in
        [("", year, 4), ("-", month, 2), ("-", day, 2), ("T", h, 2), (":", m, 2), (":", s, 2), (".", millis.into(), 3)]
    {
        out.extend_from_slice(before.as_bytes());
        digits::padded(out, n, width);
    }
    out.push(b'Z');
}

/// `31/Jan/2026:12:34:56 +0000`
fn clf_time(out: &mut Vec<u8>, at: SystemTime) {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let name = MONTHS.get(usize::try_from(month).unwrap_or(1) - 1).copied().unwrap_or("Jan");
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let _ = write!(out, "{day:02}/{name}/{year:04}:{h:02}:{m:02}:{s:02} +0000");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let at = |s: u64, ms: u64| UNIX_EPOCH + Duration::from_millis(s * 1000 + ms);
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_735_689_599, "2024-12-31T23:59:59.007Z"),
            (4_102_444_800, "2100-01-01T00:00:00.007Z"),
        ] {
            let mut out = Vec::new();
            rfc3339(&mut out, at(seconds, 7));
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
        let mut out = Vec::new();
        clf_time(&mut out, at(951_782_461, 0));
        assert_eq!(String::from_utf8_lossy(&out), "29/Feb/2000:00:01:01 +0000");
    }

    #[test]
    fn strings_stay_strings() {
        for (value, json) in [
            (&b"plain"[..], r#""plain""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"a\r\nb\x1b[31m", r#""a\u000d\u000ab\u001b[31m""#),
            ("\u{202e}abc".as_bytes(), r#""\u202eabc""#),
            ("caf\u{e9}".as_bytes(), "\"caf\u{e9}\""),
            (b"\xff", "\"\u{fffd}\""),
        ] {
            let mut out = Vec::new();
            text(&mut out, value);
            assert_eq!(String::from_utf8_lossy(&out), json);
            assert!(serde_json::from_slice::<String>(&out).is_ok());
        }
    }

    #[test]
    fn times_in_milliseconds() {
        let mut out = Vec::new();
        milliseconds(&mut out, Duration::from_micros(12_034));
        assert_eq!(out, b"12.034");
    }
}
