//! The HTTP cache of RFC 9111: memory and disk.
#![forbid(unsafe_code)]

pub mod cache;
pub mod caches;
pub mod key;
pub mod outcome;

pub use cache::Cache;
pub use caches::{CacheError, Caches, Purge, Stats};
pub use key::CacheKey;
pub use outcome::{FetchFailed, Outcome};
