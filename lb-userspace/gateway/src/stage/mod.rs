//! What happens to a request on its way, stage by stage: plain functions over `http` types, without sockets or servers.
//!
//! In the order in which a request meets them; `request.rs` calls them:
//!
//! | stage | what it does |
//! |---|---|
//! | [`head`] | is this head one that may be served at all |
//! | [`forwarded`] | who is the client; what the backend is told of them |
//! | [`upgrade`], [`tunnel`] | may the connection become a tunnel; the tunnel |
//! | [`hop`] | fields that are for one connection go; which trailers may pass |
//! | [`limit`] | bodies with a bound, a time-out and a count, both ways |
//! | [`redirect`], [`fixed`] | answers without a backend |
//! | [`split`] | which pool, by weight |
//! | [`mirror`] | a copy for another pool |
//! | [`respond`], [`location`] | a backend's answer made presentable |
//! | [`refuse`] | answers that are ours, error pages |
//! | `explain` | the same decisions, in words |

mod chain;
pub(crate) mod explain;
pub mod fixed;
pub mod forwarded;
mod frames;
pub mod head;
pub mod hop;
pub mod limit;
pub mod location;
pub mod mirror;
pub mod redirect;
pub mod refuse;
pub mod respond;
pub mod split;
pub mod tunnel;
pub mod upgrade;

use lb_model::http::Refusal;

/// Why a stage ends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub refusal: Refusal,
    /// For the problem document.
    pub detail: &'static str,
    /// The connection cannot be trusted to be in step, and ends after the answer (HTTP/1 only).
    pub close: bool,
}

impl Fault {
    /// The connection goes on after it.
    #[must_use]
    pub const fn new(refusal: Refusal, detail: &'static str) -> Self {
        Self { refusal, detail, close: false }
    }

    /// The connection ends with it.
    #[must_use]
    pub const fn last(refusal: Refusal, detail: &'static str) -> Self {
        Self { refusal, detail, close: true }
    }
}
