//! Which listener a request that nobody sends would come in at.

use std::sync::Arc;

use http::Uri;
use http::uri::PathAndQuery;

use crate::snapshot::Site;

/// An absolute URL of http or https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub secure: bool,
    /// As written, with its port.
    pub authority: String,
    pub port: u16,
    pub target: PathAndQuery,
}

impl Url {
    /// # Errors
    /// In words.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let fault = || format!("'{text}' is not a URL like https://www.example.com/path");
        let uri: Uri = text.parse().map_err(|_| fault())?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(fault()),
        };
        let authority = uri.authority().ok_or_else(fault)?.as_str().to_owned();
        let host = lb_routing::host::canonical(&authority).map_err(|why| format!("'{text}': {why}"))?;
        let port = host.port.unwrap_or(if secure { 443 } else { 80 });
        let target = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        Ok(Self { secure, authority, port, target })
    }
}

/// The one that is named; else the one of the URL's scheme and port; else the only one. And why.
///
/// # Errors
/// In words, with the names to choose from.
pub(super) fn listener<'s>(
    sites: &'s [Arc<Site>],
    url: &Url,
    named: Option<&str>,
) -> Result<(&'s Arc<Site>, &'static str), String> {
    let names = || sites.iter().map(|s| s.listener.name.to_string()).collect::<Vec<_>>().join(", ");
    if let Some(name) = named {
        let found = sites.iter().find(|s| s.listener.name.as_str() == name);
        return found
            .map(|s| (s, "it was named"))
            .ok_or_else(|| format!("no listener '{name}'; there are: {}", names()));
    }
    let of_url = |s: &&Arc<Site>| s.listener.is_tls() == url.secure && s.listener.listen.port() == url.port;
    let mut same = sites.iter().filter(of_url);
    match (same.next(), same.next(), sites) {
        (Some(one), None, _) => Ok((one, "the URL's scheme and port")),
        (_, _, [only]) => Ok((only, "the only listener")),
        (_, _, []) => Err("there is no listener".to_owned()),
        (None, _, _) => {
            Err(format!("no listener has the URL's scheme and port; name one with --listener: {}", names()))
        }
        (Some(_), Some(_), _) => {
            Err(format!("more than one listener has the URL's port; name one with --listener: {}", names()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let read = |text: &str| Url::read(text).map(|u| (u.secure, u.authority, u.port, u.target.to_string()));
        let want =
            |secure, authority: &str, port, target: &str| Ok((secure, authority.to_owned(), port, target.to_owned()));
        assert_eq!(read("http://a.test"), want(false, "a.test", 80, "/"));
        assert_eq!(read("https://A.test:8443/x?y"), want(true, "A.test:8443", 8443, "/x?y"));
        assert_eq!(read("https://[::1]/x"), want(true, "[::1]", 443, "/x"));
        for text in ["", "/x", "a.test/x", "ftp://a.test/", "http://", "http://u@a.test/", "http://a b/"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
