//! What a stored response is found by: the URL as the client wrote it, normalised.

/// A request's URL in the router's normal form: scheme and host in lower case, the scheme's own port left out, the path
/// normalised before any rewriting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheKey<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// `host` or `host:port`.
    pub authority: &'a str,
    /// Begins with `/`.
    pub path: &'a str,
    /// Without the question mark.
    pub query: Option<&'a str>,
}
