//! All routes' caches: made, resized and dropped at a reload; counted and purged together.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use lb_model::Name;

use crate::cache::Cache;
use crate::disk::{Disk, opened};
use crate::key::normal;
use crate::ledger::What;
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
    /// The disk tier is not in use; memory works.
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
        let mut opening = Vec::new();
        for (name, policy) in caches {
            let before = old.get(name);
            let cache = match before {
                Some(cache) if cache.policy == *policy => cache.clone(),
                _ => {
                    let cache = changed(before, policy, |told| opening.push((name.clone(), policy, told)));
                    Arc::new(cache)
                }
            };
            all.insert(name.clone(), cache);
        }
        drop(all);
        let failed = opening.into_iter().filter_map(|(route, policy, told)| {
            let path = policy.disk.as_ref()?.path.display().to_string();
            opened(&told).err().map(|why| CacheError::Disk { route, path, why })
        });
        failed.collect()
    }

    /// Writes what disk tiers still have in memory: at the end of the process. Blocks, at most two seconds for each.
    pub fn close(&self) {
        let caches: Vec<Arc<Cache>> = self.caches().values().cloned().collect();
        caches.iter().filter_map(|cache| cache.disk.as_ref()).for_each(|disk| disk.close());
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

    /// How many stored responses went: all in memory, and of those on disk only the one that a key names is counted,
    /// though all go. A URL that is none purges nothing.
    pub fn purge(&self, what: &Purge) -> u64 {
        let what = match what {
            Purge::Key(url) => normal(url).map(What::Key),
            Purge::Prefix(url) => normal(url).map(What::Prefix),
            Purge::Tag(tag) => Some(What::Tag(tag.clone())),
            Purge::All => Some(What::All),
        };
        let Some(what) = what else { return 0 };
        let caches: Vec<Arc<Cache>> = self.caches().values().cloned().collect();
        caches.iter().map(|cache| cache.purge(&what)).sum()
    }
}

type Told = mpsc::Receiver<Result<(), String>>;

/// A cache under new rules, with what the old one had.
fn changed(before: Option<&Arc<Cache>>, policy: &lb_model::http::Cache, opening: impl FnOnce(Told)) -> Cache {
    let store = match before {
        Some(cache) => cache.store.resized(policy.max_size, policy.max_object),
        None => Arc::new(Store::new(policy.max_size, policy.max_object)),
    };
    let same = before.filter(|c| c.policy.disk == policy.disk && c.policy.max_object == policy.max_object);
    let disk = match (same, &policy.disk) {
        (Some(cache), _) => cache.disk.clone(),
        (None, Some(config)) => {
            let (disk, told) = Disk::start(config, policy.max_object, &store.ledger);
            opening(told);
            Some(disk)
        }
        (None, None) => None,
    };
    Cache { policy: policy.clone(), store, disk }
}
