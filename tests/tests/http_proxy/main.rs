//! What the reverse proxy does, key by key, asked by real requests; no privilege needed.

mod answers;
mod balance;
mod cache;
mod cache_staleness;
mod certs;
mod commands;
mod compress;
mod draining;
mod fields;
mod files;
mod logs;
mod mutual;
mod outliers;
mod proxy_protocol;
mod queue;
mod rewriting;
mod routing;
mod sticky;
mod time_outs;
