//! The traps of HTTP with raw bytes: what the client gets and what the backend sees; no privilege needed.

mod fields;
mod framing;
mod h2_floods;
mod h2_heads;
mod h2_wire;
mod heads;
mod hosts;
mod interim;
mod keys;
mod paths;
mod peers;
mod responses;
mod retries;
mod sizes;
mod slow;
mod ssrf;
mod tidying;
mod upgrades;
