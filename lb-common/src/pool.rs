//! Pools as the kernel sees them: one published table of backend numbers, replaced whole.
//!
//! A pool's table is an array of `u32`, the inner map at the pool's number. Word 0 is the number of slots; then follow
//! the slots. What a slot list means depends on the algorithm: Maglev's table for `maglev`, `source-hash` and `random`;
//! the members once each for `round-robin`; the smooth sequence for `weighted-round-robin`; for `least-connections` the
//! smooth sequence too, which is where the search for the least loaded starts.

/// Numbers of services, pools and backends are below these.
pub const MAX_SERVICES: u32 = 4096;
pub const MAX_POOLS: u32 = 4096;
pub const MAX_BACKENDS: u32 = 65_536;
/// Members of one pool.
pub const MAX_MEMBERS: u32 = 1024;
pub const MAX_WEIGHT: u16 = 1000;
/// Words of a table before the slots.
pub const TABLE_HEADER: u32 = 1;
/// Slots of a smooth weighted sequence at most; longer periods are scaled down (an error of 1/65,536 per member).
pub const MAX_SEQUENCE: u32 = 65_536;
pub const DEFAULT_MAGLEV_SIZE: u32 = 65_537;
/// Entries of the members list that `least-connections` scans: at word `TABLE_HEADER + slots` stands their number, then
/// the members once each.
pub const LEAST_SCAN: u32 = MAX_MEMBERS;
