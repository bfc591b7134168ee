//! The OCSP response that lies beside a certificate (RFC 6960 §4.2.1): whose it is, and until when it may be stapled. Its
//! signature is the client's to check.

use std::time::{Duration, SystemTime};

use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

const SEQUENCE: u8 = 0x30;

/// Good until; `None`: newer ones are always to be had, and so this one does not age.
///
/// # Errors
/// What makes it useless for the certificate with this serial number.
pub(crate) fn good_until(der: &[u8], serial: &[u8]) -> Result<Option<SystemTime>, &'static str> {
    let broken = "is no OCSP response in DER";
    let (response, _) = take(der, SEQUENCE).ok_or(broken)?;
    let (status, rest) = take(response, 0x0a).ok_or(broken)?;
    if status != [0] {
        return Err("is a responder's refusal");
    }
    let basic = take(rest, 0xa0)
        .and_then(|(bytes, _)| take(bytes, SEQUENCE))
        .and_then(|(bytes, _)| take(bytes, 0x06))
        .and_then(|(_, rest)| take(rest, 0x04))
        .and_then(|(bytes, _)| take(bytes, SEQUENCE))
        .and_then(|(bytes, _)| take(bytes, SEQUENCE))
        .ok_or(broken)?
        .0;
    // The version is left out if it is 1; then who answers, and when it was written.
    let rest = take(basic, 0xa0).map_or(basic, |(_, rest)| rest);
    let rest = take(rest, 0xa1).or_else(|| take(rest, 0xa2)).ok_or(broken)?.1;
    let rest = take(rest, 0x18).ok_or(broken)?.1;
    let mut singles = take(rest, SEQUENCE).ok_or(broken)?.0;
    while let Some((single, rest)) = take(singles, SEQUENCE) {
        singles = rest;
        let (id, rest) = take(single, SEQUENCE).ok_or(broken)?;
        if serial_of(id) == Some(serial) {
            return next_update(rest).ok_or(broken);
        }
    }
    Err("is for another certificate")
}

fn serial_of(id: &[u8]) -> Option<&[u8]> {
    let (_, rest) = take(id, SEQUENCE)?;
    let (_, rest) = take(rest, 0x04)?;
    let (_, rest) = take(rest, 0x04)?;
    take(rest, 0x02).map(|(serial, _)| serial)
}

/// After the status: thisUpdate, and perhaps nextUpdate.
#[expect(clippy::option_option, reason = "broken, or without one")]
fn next_update(rest: &[u8]) -> Option<Option<SystemTime>> {
    let (_, rest) = any(rest).map(|(_, content, rest)| (content, rest))?;
    let (_, rest) = take(rest, 0x18)?;
    let Some((next, _)) = take(rest, 0xa0) else { return Some(None) };
    let (_, time) = ASN1Time::from_der(next).ok()?;
    let seconds = Duration::from_secs(u64::try_from(time.timestamp()).ok()?);
    Some(SystemTime::UNIX_EPOCH.checked_add(seconds))
}

/// The content of what comes first, if it has this tag, and what follows it.
fn take(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    any(bytes).filter(|(found, _, _)| *found == tag).map(|(_, content, rest)| (content, rest))
}

fn any(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (own, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (own.iter().fold(0, |n, b| n << 8 | usize::from(*b)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}
