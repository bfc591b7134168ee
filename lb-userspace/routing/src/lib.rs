//! Which route a request takes, and how it is written anew: pure, no I/O, no clock.
//!
//! [`path::normalise`] and [`host::canonical`] give the bytes that are matched, authorised and forwarded: the same for all
//! three. A [`Table`] is compiled for one listener; looking a request up in it costs the same whether it holds ten routes
//! or ten thousand.
//!
//! # Precedence
//! The most specific host (exact, then the longest wildcard, then none), then an exact path, then a pattern (more literal
//! bytes first), then the longest prefix, then a route that names methods, then the number of header matches, of query
//! matches, of cookies, then one that names sources, then the order of the file. It is the Gateway API's, with `cookies`
//! and `source` after it. Routes of the most specific host that do not match leave the request to less specific ones.
#![forbid(unsafe_code)]

pub mod conditions;
pub mod considered;
pub mod head;
pub mod host;
pub mod path;
mod paths;
mod rank;
pub mod rewrite;
mod table;
pub mod template;

pub use considered::{Considered, Outcome};
pub use head::{Captures, Head};
pub use host::{Host, HostFault};
pub use path::{Escapes, Normal, PathFault};
pub use table::{Found, Table};
