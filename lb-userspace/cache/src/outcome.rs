//! What the cache did with a request, for the log, and how a fetch that failed is told from an answer.

use lb_model::http::Refusal;

/// In the extensions of every response that [`crate::Cache::serve`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Hit,
    Miss,
    /// Answered with a stored response that is not fresh any more.
    Stale,
    /// The backend confirmed the stored response.
    Revalidated,
    /// The cache had no part in it.
    Bypass,
}

impl Outcome {
    /// As in the access log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Bypass => "bypass",
        }
    }
}

/// Put into the extensions of a response that `fetch` made because no backend answered: never stored, and a reason for
/// `stale-if-error` (RFC 5861 §4). The extension stays if the response is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchFailed(pub Refusal);
