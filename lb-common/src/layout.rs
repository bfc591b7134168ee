//! The version of everything in this crate that lies in pinned maps.

/// Raised with every change of a map's key, value, size rule or meaning. An `lb` that finds another number pinned
/// rebuilds the maps and says so.
pub const VERSION: u32 = 1;
