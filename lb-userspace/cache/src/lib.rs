//! The HTTP cache of RFC 9111: memory and disk.
//!
//! [`Cache::serve`] is the way in: `cache` decides, `fresh` and `rules` are its pure rules, `forward` goes to the backend,
//! `flight`, `fill` and `pump` let many wait for one answer, `store` and `disk` keep it, `ledger` keeps purged things away.
#![forbid(unsafe_code)]

mod answer;
pub mod cache;
pub mod caches;
mod codec;
mod conditional;
pub mod directives;
mod disk;
mod fill;
mod flight;
mod forward;
mod fresh;
pub mod key;
mod ledger;
pub mod outcome;
mod pump;
mod rules;
mod status;
mod store;
mod stored;

pub use cache::Cache;
pub use caches::{CacheError, Caches, Purge, Stats};
pub use key::CacheKey;
pub use outcome::{FetchFailed, Outcome};
