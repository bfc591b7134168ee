//! Durations, rates, percentages, status ranges and payloads as text, both ways.

use std::fmt;
use std::time;

use lb_model::{RateLimit, StatusRange};

const NANOS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// `500ms`, `2s`, `1m`, `1h30m`. The error says what would do.
///
/// # Errors
/// If it is none.
pub fn parse_duration(text: &str) -> Result<time::Duration, String> {
    let bad =
        || format!("'{text}' is not a duration: write a number and one of ms, s, m, h, d, such as 500ms, 2s or 1m");
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() || text.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let (_, nanos) = NANOS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        total = u128::from(number).checked_mul(*nanos).and_then(|n| total.checked_add(n)).ok_or_else(bad)?;
        rest = tail;
    }
    let seconds = u64::try_from(total / 1_000_000_000).map_err(|_| bad())?;
    Ok(time::Duration::new(seconds, (total % 1_000_000_000) as u32))
}

/// A duration as configuration writes it: the largest unit that says it exactly.
#[derive(Clone, Copy, Debug)]
pub struct Duration(pub time::Duration);

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.pad("0s");
        }
        let (unit, size) = NANOS.iter().find(|(_, size)| nanos.is_multiple_of(*size)).unwrap_or(&NANOS[6]);
        f.pad(&format!("{}{unit}", nanos / size))
    }
}

const BYTES: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// `64KiB`, `10MiB`, `0`: bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || format!("'{text}' is not a size: write a number and one of B, KiB, MiB, GiB, such as 64KiB");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = (text[..end].replace('_', ""), text[end..].trim_start());
    let number: u64 = number.parse().map_err(|_| bad())?;
    if let Some((meant, _)) =
        BYTES.iter().find(|(name, _)| name.replace('i', "").eq_ignore_ascii_case(unit) && unit.len() == 2)
    {
        return Err(format!("'{text}' is not a size: write {number}{meant}, in units of 1024"));
    }
    let size = if unit.is_empty() { Some(1) } else { BYTES.iter().find(|(name, _)| *name == unit).map(|(_, n)| *n) };
    number.checked_mul(size.ok_or_else(bad)?).ok_or_else(bad)
}

/// A size as configuration writes it: the largest unit that says it exactly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, size): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*size);
        let (unit, size) = BYTES.iter().find(fits).unwrap_or(&("", 1));
        f.pad(&format!("{}{unit}", self.0 / size))
    }
}

/// `100/s`, `5/min`, `1/10s`: how many in how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) count: u32,
    pub(crate) per: time::Duration,
}

impl Rate {
    pub(crate) const MOST: u32 = 1_000_000;

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("'{text}' is not a rate: write a number and s, min, h or d, such as 100/s or 20/min");
        let (count, per) = text.split_once('/').ok_or_else(bad)?;
        let count = count.trim().replace('_', "").parse::<u32>().map_err(|_| bad())?;
        let per = match per.trim() {
            "s" | "sec" | "second" => time::Duration::from_secs(1),
            "m" | "min" | "minute" => time::Duration::from_secs(60),
            "h" | "hour" => time::Duration::from_secs(3600),
            "d" | "day" => time::Duration::from_secs(86_400),
            other => parse_duration(other).map_err(|_| bad())?,
        };
        if !(1..=Self::MOST).contains(&count) || per.as_nanos() < u128::from(count) {
            return Err(format!("'{text}' is out of range: a rate counts from 1 to {}", Self::MOST));
        }
        Ok(Self { count, per })
    }

    pub(crate) fn interval(self) -> time::Duration {
        self.per / self.count
    }

    /// A rate of exactly this limit's interval, in the plainest words.
    pub(crate) fn of(limit: &RateLimit) -> String {
        for (name, seconds) in [("s", 1), ("min", 60), ("h", 3600), ("d", 86_400)] {
            let per = time::Duration::from_secs(seconds);
            let near = per.as_nanos() / limit.interval.as_nanos().max(1);
            for count in [near, near + 1] {
                match u32::try_from(count) {
                    Ok(n) if (1..=Self::MOST).contains(&n) && per / n == limit.interval => {
                        return format!("{n}/{name}");
                    }
                    _ => {}
                }
            }
        }
        format!("1/{}", Duration(limit.interval))
    }
}

/// `10%`.
pub(crate) fn parse_percent(text: &str) -> Option<u8> {
    text.strip_suffix('%')?.trim().parse().ok().filter(|p| *p <= 100)
}

/// `200`, `200-299`, `200-299,301`.
pub(crate) fn parse_statuses(text: &str) -> Result<Vec<StatusRange>, String> {
    let status = |s: &str| s.trim().parse::<u16>().ok().filter(|s| (100..=599).contains(s));
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = StatusRange { first: status(first)?, last: status(last)? };
        (range.first <= range.last).then_some(range)
    };
    let bad = |part: &str| {
        format!("'{}' is not an HTTP status (100 to 599) or a range of them, such as 200 or 200-299", part.trim())
    };
    text.split(',').map(|part| range(part).ok_or_else(|| bad(part))).collect()
}

pub(crate) fn statuses(ranges: &[StatusRange]) -> String {
    let one = |r: &StatusRange| if r.first == r.last { r.first.to_string() } else { format!("{}-{}", r.first, r.last) };
    ranges.iter().map(one).collect::<Vec<_>>().join(",")
}

const HEX: &str = "hex:";

/// Bytes to send or expect: the text itself, or pairs of digits after `hex:`.
pub(crate) fn parse_payload(text: &str) -> Result<Vec<u8>, String> {
    let Some(digits) = text.strip_prefix(HEX) else { return Ok(text.as_bytes().to_vec()) };
    let digits: Vec<u8> = digits.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let pair = |p: &[u8]| match p {
        [high, low] => Some((char::from(*high).to_digit(16)? << 4 | char::from(*low).to_digit(16)?) as u8),
        _ => None,
    };
    let bytes = digits.chunks(2).map(pair).collect::<Option<_>>();
    bytes.ok_or_else(|| format!("'{text}' is not hexadecimal: after hex: write two digits for each byte"))
}

pub(crate) fn payload(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with(HEX) && !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes.iter().fold(HEX.to_owned(), |text, b| text + &format!("{b:02x}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, millis) in
            [("500ms", 500), ("2s", 2000), ("1m", 60_000), ("1h30m", 5_400_000), ("1d", 86_400_000), ("0s", 0)]
        {
            assert_eq!(parse_duration(text), Ok(time::Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "2",
            "s",
            "2 s",
            "-2s",
            "1.5s",
            "2sec",
            "2S",
            "9999999999999999999999d",
            "18446744073709551615d",
            "2s1",
            "µs",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(Duration(time::Duration::from_secs(90)).to_string(), "90s");
        assert_eq!(Duration(time::Duration::from_secs(7200)).to_string(), "2h");
    }

    #[test]
    fn rates() {
        let interval = |text| Rate::parse(text).map(Rate::interval);
        assert_eq!(interval("100/s"), Ok(time::Duration::from_millis(10)));
        assert_eq!(interval("20/min"), Ok(time::Duration::from_secs(3)));
        assert_eq!(interval("1/10s"), Ok(time::Duration::from_secs(10)));
        for text in ["", "100", "0/s", "x/s", "1/fortnight", "-1/s", "1/0s", "2/1ns"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn statuses_read_back() {
        for text in ["200", "200-299", "200-299,301"] {
            assert_eq!(parse_statuses(text).map(|s| statuses(&s)), Ok(text.to_owned()));
        }
        for text in ["", "20", "299-200", "200-", "600", "2xx", "200,,201"] {
            assert!(parse_statuses(text).is_err(), "{text}");
        }
    }

    #[test]
    fn payloads() {
        assert_eq!(parse_payload("ping"), Ok(b"ping".to_vec()));
        assert_eq!(parse_payload("hex:00 fF"), Ok(vec![0, 255]));
        for text in ["hex:0", "hex:zz", "hex:é0"] {
            assert!(parse_payload(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(nanos in 0..u64::MAX, count in 1..=Rate::MOST, bytes: Vec<u8>) {
            let duration = time::Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&Duration(duration).to_string()), Ok(duration));
            let interval = time::Duration::from_secs(60) / count;
            let text = Rate::of(&RateLimit { interval, burst: 1 });
            prop_assert_eq!(Rate::parse(&text).map(Rate::interval), Ok(interval));
            prop_assert_eq!(parse_payload(&payload(&bytes)), Ok(bytes));
        }
        #[test]
        fn nothing_written_panics(text: String) {
            let _ = (parse_duration(&text), Rate::parse(&text), parse_statuses(&text), parse_payload(&text));
            let _ = parse_percent(&text);
        }
    }
}
