//! A stored response as bytes, for the disk: lengths in little-endian, then texts, then the body.

use std::time::{Duration, SystemTime};

use bytes::{BufMut as _, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::fresh::{Life, Window};
use crate::stored::{Stored, selecting};

/// Of the layout; what was written with another is not read.
const VERSION: u8 = 1;
const RESPONSE: u8 = 0;
const VARIES: u8 = 1;

/// What is found under a key.
#[derive(Debug)]
pub(crate) enum Item {
    Response(Box<Stored>),
    /// The response depends on these fields: it is under [`variant_key`].
    Varies(Vec<HeaderName>),
}

/// Under which text a response to a request with these fields is kept.
pub(crate) fn variant_key(url: &str, names: &[HeaderName], request: &HeaderMap) -> String {
    key_of(url, names.iter().map(|name| (name, selecting(request, name))))
}

/// The same, of a stored one.
pub(crate) fn key_of_stored(url: &str, stored: &Stored) -> String {
    key_of(url, stored.selects.iter().map(|(name, had)| (name, had.as_ref())))
}

/// A line break stands in no URL; values are in hexadecimal, so that none looks like another's name.
fn key_of<'a, V: AsRef<[u8]>>(url: &str, selects: impl Iterator<Item = (&'a HeaderName, Option<V>)>) -> String {
    use std::fmt::Write as _;
    let mut key = url.to_owned();
    for (name, had) in selects {
        let _ = write!(key, "\n{name}");
        if let Some(had) = had {
            key.push(':');
            for byte in had.as_ref() {
                let _ = write!(key, "{byte:02x}");
            }
        }
    }
    key
}

pub(crate) fn encode_varies(names: impl Iterator<Item = HeaderName>, ledger: u64) -> Bytes {
    let mut out = head(VARIES, ledger);
    for name in names {
        text(&mut out, name.as_str().as_bytes());
    }
    out.into()
}

pub(crate) fn encode(stored: &Stored, ledger: u64) -> Bytes {
    let mut out = head(RESPONSE, ledger);
    out.reserve(usize::try_from(stored.weight()).unwrap_or(0));
    let life = &stored.life;
    let received = life.received.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    out.put_u64_le(stored.born);
    out.put_u16_le(stored.status.as_u16());
    for time in [received, life.initial_age, life.lifetime] {
        out.put_u64_le(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }
    for flag in [life.no_cache, life.strict, stored.for_authorized] {
        out.put_u8(u8::from(flag));
    }
    for window in [life.while_revalidate, life.if_error] {
        let (kind, said) = match window {
            Window::Never => (0, Duration::ZERO),
            Window::Route => (1, Duration::ZERO),
            Window::Said(said) => (2, said),
        };
        out.put_u8(kind);
        out.put_u64_le(said.as_secs());
    }
    count(&mut out, stored.headers.len());
    for (name, value) in &stored.headers {
        text(&mut out, name.as_str().as_bytes());
        text(&mut out, value.as_bytes());
    }
    count(&mut out, stored.selects.len());
    for (name, had) in &stored.selects {
        text(&mut out, name.as_str().as_bytes());
        out.put_u8(u8::from(had.is_some()));
        text(&mut out, had.as_deref().unwrap_or_default());
    }
    count(&mut out, stored.tags.len());
    for tag in &stored.tags {
        text(&mut out, tag);
    }
    out.extend_from_slice(&stored.body);
    out.into()
}

fn head(kind: u8, ledger: u64) -> Vec<u8> {
    let mut out = vec![VERSION, kind];
    out.put_u64_le(ledger);
    out
}

fn count(out: &mut Vec<u8>, n: usize) {
    out.put_u32_le(u32::try_from(n).unwrap_or(u32::MAX));
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    count(out, text.len());
    out.extend_from_slice(text);
}

/// `None`: another layout, another ledger, or damaged.
pub(crate) fn decode(bytes: &Bytes, ledger: u64) -> Option<Item> {
    let mut rest = Rest { bytes: bytes.clone() };
    if rest.byte()? != VERSION {
        return None;
    }
    let kind = rest.byte()?;
    if rest.number()? != ledger {
        return None;
    }
    if kind == VARIES {
        let mut names = Vec::new();
        while !rest.bytes.is_empty() {
            names.push(rest.name()?);
        }
        return Some(Item::Varies(names));
    }
    (kind == RESPONSE).then(|| response(rest))?.map(|stored| Item::Response(Box::new(stored)))
}

fn response(mut rest: Rest) -> Option<Stored> {
    let born = rest.number()?;
    let status = StatusCode::from_u16(u16::from_le_bytes([rest.byte()?, rest.byte()?])).ok()?;
    let received = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(rest.number()?))?;
    let (initial_age, lifetime) = (Duration::from_millis(rest.number()?), Duration::from_millis(rest.number()?));
    let (no_cache, strict, for_authorized) = (rest.byte()? != 0, rest.byte()? != 0, rest.byte()? != 0);
    let (while_revalidate, if_error) = (rest.window()?, rest.window()?);
    let mut headers = HeaderMap::new();
    for _ in 0..rest.count()? {
        let name = rest.name()?;
        headers.try_append(name, HeaderValue::from_maybe_shared(rest.text()?).ok()?).ok()?;
    }
    let mut selects = Vec::new();
    for _ in 0..rest.count()? {
        let name = rest.name()?;
        let there = rest.byte()? != 0;
        let had = rest.text()?;
        selects.push((name, there.then_some(had)));
    }
    let mut tags = Vec::new();
    for _ in 0..rest.count()? {
        tags.push(rest.text()?);
    }
    let life = Life { received, initial_age, lifetime, no_cache, strict, while_revalidate, if_error };
    Some(Stored { status, headers, body: rest.bytes, life, selects, tags, for_authorized, born })
}

/// What is left to read; texts share its memory.
struct Rest {
    bytes: Bytes,
}

impl Rest {
    fn take(&mut self, n: usize) -> Option<Bytes> {
        (self.bytes.len() >= n).then(|| self.bytes.split_to(n))
    }
    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }
    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.as_ref().try_into().ok()?))
    }
    fn count(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.take(4)?.as_ref().try_into().ok()?)).ok()
    }
    fn text(&mut self) -> Option<Bytes> {
        let length = self.count()?;
        self.take(length)
    }
    fn name(&mut self) -> Option<HeaderName> {
        HeaderName::from_bytes(&self.text()?).ok()
    }
    fn window(&mut self) -> Option<Window> {
        let (kind, said) = (self.byte()?, self.number()?);
        match kind {
            0 => Some(Window::Never),
            1 => Some(Window::Route),
            2 => Some(Window::Said(Duration::from_secs(said))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT_LANGUAGE, ETAG};
    use proptest::prelude::*;

    use super::*;

    fn stored(body: Vec<u8>, lifetime: u64) -> Stored {
        let mut headers = HeaderMap::new();
        headers.append(ETAG, HeaderValue::from_bytes(b"\"\xe4\"").expect("a value"));
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_static("2"));
        let life = Life {
            received: SystemTime::UNIX_EPOCH + Duration::from_millis(1_234_567),
            initial_age: Duration::from_millis(1500),
            lifetime: Duration::from_secs(lifetime),
            no_cache: false,
            strict: true,
            while_revalidate: Window::Said(Duration::from_secs(7)),
            if_error: Window::Route,
        };
        Stored {
            status: StatusCode::OK,
            headers,
            body: body.into(),
            life,
            selects: vec![(ACCEPT_LANGUAGE, Some(Bytes::from_static(b"de"))), (ETAG, None)],
            tags: vec![Bytes::from_static(b"news")],
            for_authorized: true,
            born: 3,
        }
    }

    proptest! {
        #[test]
        fn a_response_round_trips(body in proptest::collection::vec(any::<u8>(), 0..200), lifetime in 0_u64..100_000) {
            let before = stored(body, lifetime);
            let Some(Item::Response(after)) = decode(&encode(&before, 9), 9) else { panic!("a response") };
            prop_assert_eq!(&after.headers, &before.headers);
            prop_assert_eq!(&after.body, &before.body);
            prop_assert_eq!(after.life, before.life);
            prop_assert_eq!(&after.selects, &before.selects);
            prop_assert_eq!(&after.tags, &before.tags);
            prop_assert_eq!((after.status, after.born, after.for_authorized), (before.status, 3, true));
        }

        #[test]
        fn damaged_bytes_do_no_harm(cut in 0_usize..200, at in 0_usize..200, with in any::<u8>()) {
            let mut bytes = encode(&stored(vec![1, 2, 3], 5), 9).to_vec();
            bytes.truncate(cut.max(1));
            if let Some(b) = bytes.get_mut(at) {
                *b = with;
            }
            let _ = decode(&bytes.into(), 9);
        }
    }

    #[test]
    fn another_ledgers_entries_are_not_read() {
        assert!(decode(&encode(&stored(Vec::new(), 1), 9), 8).is_none());
        let varies = encode_varies([ACCEPT_LANGUAGE].into_iter(), 9);
        assert!(matches!(decode(&varies, 9), Some(Item::Varies(names)) if names == [ACCEPT_LANGUAGE]));
    }

    #[test]
    fn a_variants_key_is_the_same_from_both_sides() {
        let mut request = HeaderMap::new();
        request.insert(ACCEPT_LANGUAGE, HeaderValue::from_static(" de "));
        let stored = stored(Vec::new(), 1);
        let names: Vec<_> = stored.selects.iter().map(|(n, _)| n.clone()).collect();
        assert_eq!(variant_key("u", &names, &request), key_of_stored("u", &stored));
        request.insert(ACCEPT_LANGUAGE, HeaderValue::from_static("en"));
        assert_ne!(variant_key("u", &names, &request), key_of_stored("u", &stored));
    }
}
