//! A stored response, the requests it fits (RFC 9111 §4.1), and what it weighs.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AGE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::fresh::Life;
use crate::status::{CACHE_STATUS, HIT, appended};

/// Of one resource at most so many variants are kept, the newest.
pub(crate) const MAX_VARIANTS: usize = 32;
/// Bytes that an entry costs beyond its texts: tables, counts, the map's share.
const OVERHEAD: u64 = 320;
const FIELD_OVERHEAD: u64 = 48;

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) status: StatusCode,
    /// As a hit sends them: Age and our Cache-Status are in place, so that only Age's value is set per hit.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) life: Life,
    /// The fields that Vary names, with what the request had there.
    pub(crate) selects: Vec<(HeaderName, Option<Bytes>)>,
    pub(crate) tags: Vec<Bytes>,
    /// A request with Authorization may be answered with it (§3.5).
    pub(crate) for_authorized: bool,
    /// The ledger's number when it was asked for: purges with later numbers apply to it.
    pub(crate) born: u64,
}

impl Stored {
    /// Puts Age and Cache-Status where hits expect them.
    pub(crate) fn prepare(&mut self) {
        self.headers.remove(AGE);
        let status = appended(&self.headers, &HIT);
        self.headers.insert(CACHE_STATUS, status);
        self.headers.insert(AGE, HeaderValue::from(0_u64));
    }

    pub(crate) fn fits(&self, request: &HeaderMap) -> bool {
        self.selects.iter().all(|(name, had)| selecting(request, name).as_deref() == had.as_deref())
    }

    fn same_selection(&self, other: &Self) -> bool {
        self.selects == other.selects
    }

    pub(crate) fn weight(&self) -> u64 {
        let fields: usize = self.headers.iter().map(|(n, v)| n.as_str().len() + v.len()).sum();
        let selects: usize =
            self.selects.iter().map(|(n, v)| n.as_str().len() + v.as_ref().map_or(0, Bytes::len)).sum();
        let tags: usize = self.tags.iter().map(Bytes::len).sum();
        let texts = fields + selects + tags + self.body.len();
        let pieces = self.headers.len() + self.selects.len() + self.tags.len();
        texts as u64 + pieces as u64 * FIELD_OVERHEAD + OVERHEAD
    }
}

/// What a request has in a field, normalised: lines joined, outer white space off (§4.1); content codings in lower case
/// without white space, because they are compared so often.
pub(crate) fn selecting<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.as_bytes().trim_ascii();
    let mut all = Cow::Borrowed(first);
    for value in values {
        let joined = all.to_mut();
        joined.extend_from_slice(b", ");
        joined.extend_from_slice(value.as_bytes().trim_ascii());
    }
    if *name == ACCEPT_ENCODING && all.iter().any(|b| b.is_ascii_whitespace() || b.is_ascii_uppercase()) {
        let bare = all.iter().filter(|b| !b.is_ascii_whitespace()).map(u8::to_ascii_lowercase).collect();
        return Some(Cow::Owned(bare));
    }
    Some(all)
}

/// What is stored for one URL.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// The newest first: of several that fit, it is used (§4.1).
    pub(crate) variants: Vec<Arc<Stored>>,
    pub(crate) weight: u64,
    /// Another one is in its place: it is not evicted.
    pub(crate) replaced: AtomicBool,
}

impl Group {
    pub(crate) fn find(&self, request: &HeaderMap) -> Option<&Arc<Stored>> {
        self.variants.iter().find(|v| v.fits(request))
    }

    /// With a new response, in place of the one for the same requests.
    pub(crate) fn with(&self, url: &str, stored: Arc<Stored>) -> Self {
        let others = self.variants.iter().filter(|v| !v.same_selection(&stored)).take(MAX_VARIANTS - 1).cloned();
        Self::of(url, std::iter::once(stored.clone()).chain(others).collect())
    }

    pub(crate) fn of(url: &str, variants: Vec<Arc<Stored>>) -> Self {
        let weight = url.len() as u64 + variants.iter().map(|v| v.weight()).sum::<u64>();
        Self { variants, weight, replaced: AtomicBool::new(false) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selecting_values_are_compared_in_a_normal_form() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for v in values {
                headers.append(ACCEPT_ENCODING, HeaderValue::from_static(v));
            }
            selecting(&headers, &ACCEPT_ENCODING).map(Cow::into_owned)
        };
        assert_eq!(of(&["gzip, br"]), of(&["GZIP", "br"]));
        assert_ne!(of(&["gzip"]), of(&["br"]));
        assert_eq!(of(&[]), None);
        assert_ne!(of(&[""]), of(&[]));
    }
}
