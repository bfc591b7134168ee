//! All routes' caches: made, resized and dropped at a reload; counted and purged together.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lb_model::Name;

use crate::cache::Cache;
use crate::key::normal;
use crate::ledger::{Ledger, What};
use crate::store::Store;

/// Sums over all caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests answered with a stored response without asking the backend first.
    pub hits: u64,
    /// Requests that went on to the backend, or waited for one that did, and might have been hits.
    pub misses: u64,
    pub stored: u64,
    /// Responses that left memory for want of room.
    pub evicted: u64,
    /// Responses in memory.
    pub entries: u64,
    /// Of memory, heads included.
    pub bytes: u64,
}

/// What to purge. URLs as the client writes them: `scheme://host[:port]/path?query`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    Key(String),
    Prefix(String),
    Tag(String),
    All,
}

/// A cache that is not what the configuration asks for; requests are served all the same.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The disk tier is off until the next reload; memory works.
    #[error("route '{route}': the disk cache {path} cannot be used: {why}")]
    Disk { route: Name, path: String, why: String },
}

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Caches {
    caches: Arc<Mutex<BTreeMap<Name, Arc<Cache>>>>,
}

impl Caches {
    fn caches(&self) -> MutexGuard<'_, BTreeMap<Name, Arc<Cache>>> {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the routes' caches in force. Unchanged ones keep what they have, others are resized; those not named go.
    /// Opens disk tiers, waiting at most two seconds for each to read its index. The caller gets its caches anew with
    /// [`Self::get`]: one that was changed is another object over the same contents.
    ///
    /// # Errors
    /// None that stop anything: what is not as configured.
    pub fn set(&self, caches: &[(Name, lb_model::http::Cache)]) -> Vec<CacheError> {
        let mut all = self.caches();
        let old = std::mem::take(&mut *all);
        for (name, policy) in caches {
            let cache = match old.get(name) {
                Some(cache) if cache.policy == *policy => cache.clone(),
                Some(cache) => {
                    cache.store.resize(policy.max_size);
                    Arc::new(Cache { policy: policy.clone(), store: cache.store.clone(), disk: None })
                }
                None => {
                    let store = Store::new(policy.max_size, policy.max_object, Ledger::default());
                    Arc::new(Cache { policy: policy.clone(), store: Arc::new(store), disk: None })
                }
            };
            all.insert(name.clone(), cache);
        }
        Vec::new()
    }

    #[must_use]
    pub fn get(&self, route: &Name) -> Option<Arc<Cache>> {
        self.caches().get(route).cloned()
    }

    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for cache in self.caches().values() {
            let counters = &cache.store.counters;
            let (entries, bytes) = cache.store.size();
            sum.hits += counters.hits.load(Ordering::Relaxed);
            sum.misses += counters.misses.load(Ordering::Relaxed);
            sum.stored += counters.stored.load(Ordering::Relaxed);
            sum.evicted += counters.evicted.load(Ordering::Relaxed);
            sum.entries += entries;
            sum.bytes += bytes;
        }
        sum
    }

    /// How many stored responses went. A URL that is none purges nothing.
    pub fn purge(&self, what: &Purge) -> u64 {
        let what = match what {
            Purge::Key(url) => normal(url).map(What::Key),
            Purge::Prefix(url) => normal(url).map(What::Prefix),
            Purge::Tag(tag) => Some(What::Tag(tag.clone())),
            Purge::All => Some(What::All),
        };
        let Some(what) = what else { return 0 };
        let caches: Vec<Arc<Cache>> = self.caches().values().cloned().collect();
        caches.iter().map(|cache| cache.store.purge(&what)).sum()
    }
}
