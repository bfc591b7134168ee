//! What is in memory, by URL: sharded, bounded in bytes, with the ledger that keeps purged things away.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::HeaderMap;
use quick_cache::sync::Cache as Quick;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

use crate::flight::Flights;
use crate::key::{Key, Lookup};
use crate::ledger::{Ledger, What};
use crate::stored::{Group, Stored};

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) stored: AtomicU64,
    pub(crate) evicted: AtomicU64,
}

#[derive(Clone, Debug)]
struct Weigh;

impl Weighter<Key, Arc<Group>> for Weigh {
    fn weight(&self, _: &Key, group: &Arc<Group>) -> u64 {
        group.weight
    }
}

#[derive(Clone, Debug)]
struct Evictions(Arc<Counters>);

impl Lifecycle<Key, Arc<Group>> for Evictions {
    type RequestState = ();
    fn begin_request(&self) {}
    fn on_evict(&self, (): &mut (), _: Key, group: Arc<Group>) {
        // `quick_cache` calls this for values that are replaced, too.
        if !group.replaced.load(Ordering::Relaxed) {
            self.0.evicted.fetch_add(group.variants.len() as u64, Ordering::Relaxed);
        }
    }
}

type Memory = Quick<Key, Arc<Group>, Weigh, foldhash::fast::RandomState, Evictions>;

/// `quick_cache`: a look-up takes a shard's lock for reading only and builds no string; what is seen once does not push out
/// what is used often (S3-FIFO); its weigher is ours.
pub(crate) struct Store {
    memory: Memory,
    /// One writer at a time, so that two variants of one URL do not lose each other.
    writing: Mutex<()>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) counters: Arc<Counters>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("bytes", &self.memory.weight()).finish_non_exhaustive()
    }
}

/// What a look-up found.
#[derive(Debug)]
pub(crate) enum Found {
    Fits(Arc<Stored>),
    /// Only variants for other requests.
    Others,
    Nothing,
}

impl Store {
    pub(crate) fn new(max_size: u64, max_object: u64) -> Self {
        let counters = Arc::<Counters>::default();
        Self {
            memory: memory(max_size, shards(max_size, max_object), counters.clone()),
            writing: Mutex::new(()),
            flights: Arc::default(),
            ledger: Arc::default(),
            counters,
        }
    }

    /// With other bounds and the same contents, as far as they fit.
    pub(crate) fn resized(self: &Arc<Self>, max_size: u64, max_object: u64) -> Arc<Self> {
        let shards = shards(max_size, max_object);
        if self.memory.num_shards() == shards {
            self.memory.set_capacity(max_size);
            return self.clone();
        }
        let memory = memory(max_size, shards, self.counters.clone());
        self.memory.iter().for_each(|(key, group)| memory.insert(key, group));
        Arc::new(Self {
            memory,
            writing: Mutex::new(()),
            flights: self.flights.clone(),
            ledger: self.ledger.clone(),
            counters: self.counters.clone(),
        })
    }

    pub(crate) fn find(&self, lookup: &Lookup<'_>, request: &HeaderMap) -> Found {
        match self.memory.get(lookup) {
            Some(group) => group.find(request).map_or(Found::Others, |s| Found::Fits(s.clone())),
            None => Found::Nothing,
        }
    }

    pub(crate) fn find_key(&self, key: &Key, request: &HeaderMap) -> Option<Arc<Stored>> {
        self.memory.get(key).and_then(|group| group.find(request).cloned())
    }

    /// False: it was purged while it was fetched.
    pub(crate) fn insert(&self, key: &Key, stored: Arc<Stored>) -> bool {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.memory.peek(key).unwrap_or_default();
        old.replaced.store(true, Ordering::Relaxed);
        let (tags, born) = (stored.tags.clone(), stored.born);
        self.memory.insert(key.clone(), Arc::new(old.with(&key.url, stored)));
        drop(writing);
        // Looked at after the insertion: a purge either sees the entry or is seen here.
        if self.ledger.covers(&key.url, &tags, born) {
            self.memory.remove(key);
            return false;
        }
        true
    }

    /// Takes what was found on disk.
    pub(crate) fn adopt(&self, key: &Key, stored: &Arc<Stored>) {
        self.insert(key, stored.clone());
    }

    pub(crate) fn remove(&self, key: &Key) -> u64 {
        self.memory.remove(key).map_or(0, |(_, group)| group.variants.len() as u64)
    }

    /// Something is stored for it or on its way.
    pub(crate) fn knows(&self, key: &Key) -> bool {
        self.memory.contains_key(key) || self.flights.contains(key)
    }

    /// Notes a purge and removes what it is about. How many responses went.
    pub(crate) fn purge(&self, what: &What) -> u64 {
        self.ledger.purge(what.clone(), true);
        match what {
            What::Key(url) => Key::of_url(url).map_or(0, |key| self.remove(&key)),
            What::Prefix(prefix) => self.remove_where(|key, _| key.url.starts_with(prefix.as_str())),
            // The other variants of a URL go with the one that has the tag.
            What::Tag(tag) => {
                self.remove_where(|_, group| group.variants.iter().any(|v| v.tags.iter().any(|t| t == tag.as_bytes())))
            }
            What::All => self.remove_where(|_, _| true),
        }
    }

    fn remove_where(&self, goes: impl Fn(&Key, &Group) -> bool) -> u64 {
        let gone = Cell::new(0);
        self.memory.retain(|key, group| {
            let goes = goes(key, group);
            gone.set(gone.get() + if goes { group.variants.len() as u64 } else { 0 });
            !goes
        });
        gone.get()
    }

    /// Responses and bytes.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.memory.iter().map(|(_, group)| group.variants.len() as u64).sum(), self.memory.weight())
    }
}

/// Each shard has a part of the bytes: large enough for several of the largest objects. A power of two.
fn shards(max_size: u64, max_object: u64) -> usize {
    let shards = (max_size / max_object.max(1 << 16) / 4).clamp(1, 16);
    1 << shards.ilog2()
}

fn memory(max_size: u64, shards: usize, counters: Arc<Counters>) -> Memory {
    let options = OptionsBuilder::new()
        .weight_capacity(max_size)
        .estimated_items_capacity(usize::try_from(max_size / 8192).unwrap_or(usize::MAX).clamp(512, 1 << 17))
        .shards(shards)
        .build();
    let evictions = Evictions(counters);
    let hasher = foldhash::fast::RandomState::default();
    match options {
        Ok(options) => Quick::with_options(options, Weigh, hasher, evictions),
        Err(_) => Quick::with(512, max_size, Weigh, hasher, evictions),
    }
}

/// A body that is here as a whole.
pub(crate) fn with_body(head: &Stored, body: Bytes) -> Arc<Stored> {
    Arc::new(Stored { body, ..head.clone() })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::header::ACCEPT_LANGUAGE;
    use http::{HeaderValue, StatusCode};
    use proptest::prelude::*;

    use super::*;
    use crate::fresh::{Life, Window};
    use crate::key::CacheKey;

    const CAPACITY: u64 = 100_000;

    fn stored(language: &'static str, length: usize) -> Arc<Stored> {
        let life = Life {
            received: SystemTime::UNIX_EPOCH,
            initial_age: Duration::ZERO,
            lifetime: Duration::from_secs(60),
            no_cache: false,
            strict: false,
            while_revalidate: Window::Never,
            if_error: Window::Never,
        };
        Arc::new(Stored {
            status: StatusCode::OK,
            headers: HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static("a field like any other"))]),
            body: vec![0; length].into(),
            life,
            selects: vec![(ACCEPT_LANGUAGE, Some(Bytes::from_static(language.as_bytes())))],
            tags: Vec::new(),
            for_authorized: false,
            born: 0,
        })
    }

    fn key(n: u8) -> Key {
        Lookup::new(CacheKey { scheme: "http", authority: "a.test", path: &format!("/{n}"), query: None }).to_key()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn bytes_are_those_of_what_is_there_and_within_bounds(
            steps in proptest::collection::vec((0_u8..40, 0_usize..3, 0_usize..20_000, any::<bool>()), 1..120)
        ) {
            let store = Store::new(CAPACITY, 20_000);
            let mut put = 0;
            let mut gone = 0;
            for (n, language, length, insert) in steps {
                if insert {
                    prop_assert!(store.insert(&key(n), stored(["de", "en", "fr"][language], length)));
                    put += 1;
                } else {
                    gone += store.remove(&key(n));
                }
                let (entries, bytes) = store.size();
                let sum = store.memory.iter().map(|(key, group)| {
                    let texts: u64 = group.variants.iter().map(|v| v.weight()).sum();
                    texts + key.url.len() as u64
                }).sum::<u64>();
                prop_assert_eq!(bytes, sum);
                prop_assert!(bytes <= CAPACITY);
                // Some were replaced by a newer one for the same requests.
                prop_assert!(entries + gone + store.counters.evicted.load(Ordering::Relaxed) <= put);
            }
        }
    }
}
