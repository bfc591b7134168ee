//! Location and Content-Location as the client must see them: its own scheme, host and path, no backend's.

use http::HeaderValue;
use lb_model::BackendAddress;
use lb_model::http::{PathPattern, PathRewrite, Route};
use lb_upstream::plan::PoolPlan;

/// By which names a pool's backends may give themselves away; made when a configuration is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backends {
    /// Canonical, with the port where it is known.
    names: Vec<(String, Option<u16>)>,
}

impl Backends {
    /// `host`: the route's `rewrite.host`, which is then a name that only backends know.
    #[must_use]
    pub fn new(pool: &PoolPlan, host: Option<&str>) -> Self {
        let mut all = Self::default();
        for member in &pool.members {
            all.add(&member.address.to_string());
            if let BackendAddress::Host { .. } = member.configured {
                all.add(&member.configured.to_string());
            }
        }
        if let Some(host) = host {
            all.add(host);
        }
        all
    }

    #[cfg(test)]
    pub(crate) fn of(names: &[(&str, u16)]) -> Self {
        Self { names: names.iter().map(|(name, port)| ((*name).to_owned(), Some(*port))).collect() }
    }

    fn add(&mut self, authority: &str) {
        if let Ok(host) = lb_routing::host::canonical(authority) {
            let name = (host.name.into_owned(), host.port);
            if !self.names.contains(&name) {
                self.names.push(name);
            }
        }
    }

    /// A port that is not said is any: backends often leave their own away.
    fn hold(&self, authority: &str) -> bool {
        let Ok(host) = lb_routing::host::canonical(authority) else { return false };
        let same_port = |port: Option<u16>| host.port.is_none() || port.is_none() || host.port == port;
        self.names.iter().any(|(name, port)| *name == host.name && same_port(*port))
    }

    /// A cookie's Domain that covers a backend, but not the client's host.
    pub(crate) fn holds_domain(&self, domain: &str, side: &Side<'_>) -> bool {
        let domain = domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase();
        let covers = |name: &str| {
            name.strip_suffix(domain.as_str()).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        let host = side.authority.and_then(|a| a.to_str().ok()).and_then(|a| lb_routing::host::canonical(a).ok());
        !domain.is_empty() && !host.is_some_and(|h| covers(&h.name)) && self.names.iter().any(|(name, _)| covers(name))
    }
}

/// The client's side of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    pub secure: bool,
    /// Host as the client wrote it.
    pub authority: Option<&'a HeaderValue>,
    pub back: Option<Back<'a>>,
}

/// How a path that a backend names becomes the client's: the beginning `from` becomes `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Back<'a> {
    pub from: &'a str,
    pub to: &'a str,
}

impl<'a> Back<'a> {
    /// The reverse of a route's `strip_prefix` or `replace_prefix`; `path`: the request's, before rewriting. `None`: the
    /// path was not rewritten, or in a way that has no reverse.
    #[must_use]
    pub fn of(route: &'a Route, path: &str) -> Option<Self> {
        match (route.rewrite.path.as_ref()?, &route.matching.path) {
            (PathRewrite::Strip(prefix), _) => {
                let prefix = prefix.trim_end_matches('/');
                (!prefix.is_empty() && after(path, prefix).is_some()).then_some(Self { from: "", to: prefix })
            }
            (PathRewrite::ReplacePrefix(new), Some(PathPattern::Prefix(old))) => {
                Some(Self { from: new.trim_end_matches('/'), to: old.trim_end_matches('/') })
            }
            _ => None,
        }
    }

    /// The client's path. One that begins with the client's prefix already was made by a backend that knows it.
    fn path(&self, path: &str) -> Option<String> {
        if self.from.is_empty() && after(path, self.to).is_some() {
            return None;
        }
        let rest = after(path, self.from)?;
        let slash = if rest.starts_with('/') || !self.to.is_empty() { "" } else { "/" };
        Some(format!("{}{slash}{rest}", self.to))
    }
}

/// What stands after a beginning of whole segments.
fn after<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

/// What the client is told; `None`: what the backend said.
pub(crate) fn outside(location: &str, backends: &Backends, side: &Side<'_>) -> Option<String> {
    let back = |path: &str| side.back.and_then(|b| b.path(path));
    if location.starts_with('/') && !location.starts_with("//") {
        return back(location);
    }
    let rest = match location.split_once("//")? {
        ("", rest) => rest,
        (scheme, rest) if scheme.eq_ignore_ascii_case("http:") || scheme.eq_ignore_ascii_case("https:") => rest,
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if !backends.hold(authority) {
        return None;
    }
    let scheme = if side.secure { "https" } else { "http" };
    let host = side.authority?.to_str().ok()?;
    let path = back(path).unwrap_or_else(|| path.to_owned());
    Some(format!("{scheme}://{host}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::http::Target;

    fn told(location: &str, back: Option<Back<'_>>) -> String {
        let backends = Backends {
            names: vec![
                ("10.0.0.11".to_owned(), Some(8080)),
                ("[2001:db8::1]".to_owned(), Some(80)),
                ("app.internal".to_owned(), None),
            ],
        };
        let host = HeaderValue::from_static("www.test:8443");
        let side = Side { secure: true, authority: Some(&host), back };
        outside(location, &backends, &side).unwrap_or_else(|| location.to_owned())
    }

    #[test]
    fn a_backends_name_becomes_the_clients() {
        for (location, want) in [
            ("http://10.0.0.11:8080/a?b#c", "https://www.test:8443/a?b#c"),
            ("HTTP://10.0.0.11/a", "https://www.test:8443/a"),
            ("http://10.0.0.11:8080", "https://www.test:8443"),
            ("http://10.0.0.11:8080?x", "https://www.test:8443?x"),
            ("//10.0.0.11:8080/a", "https://www.test:8443/a"),
            ("https://APP.internal.:444/a", "https://www.test:8443/a"),
            ("http://[2001:DB8::1]/a", "https://www.test:8443/a"),
            ("http://10.0.0.11:9090/a", "http://10.0.0.11:9090/a"),
            ("http://10.0.0.12/a", "http://10.0.0.12/a"),
            ("http://www.test/a", "http://www.test/a"),
            ("https://example.com/?next=http://10.0.0.11:8080/", "https://example.com/?next=http://10.0.0.11:8080/"),
            ("ftp://10.0.0.11/a", "ftp://10.0.0.11/a"),
            ("/a", "/a"),
            ("a", "a"),
            ("?a=//10.0.0.11/", "?a=//10.0.0.11/"),
            ("", ""),
        ] {
            assert_eq!(told(location, None), want, "{location}");
        }
    }

    #[test]
    fn a_prefix_comes_back() {
        let stripped = Some(Back { from: "", to: "/app" });
        for (location, want) in [
            ("/login", "/app/login"),
            ("/", "/app/"),
            ("/app", "/app"),
            ("/app/login?x", "/app/login?x"),
            ("/apple", "/app/apple"),
            ("http://10.0.0.11:8080/login", "https://www.test:8443/app/login"),
            ("http://other.test/login", "http://other.test/login"),
            ("//other.test/login", "//other.test/login"),
            ("login", "login"),
        ] {
            assert_eq!(told(location, stripped), want, "{location}");
        }
        let replaced = Some(Back { from: "/new", to: "/old" });
        for (location, want) in [("/new/x", "/old/x"), ("/new", "/old"), ("/newer", "/newer"), ("/x", "/x")] {
            assert_eq!(told(location, replaced), want, "{location}");
        }
        assert_eq!(told("/new?x", Some(Back { from: "/new", to: "" })), "/?x");
    }

    #[test]
    fn the_reverse_of_a_rewrite() {
        let mut route = Route::new("r".parse().expect("a name"), Target::Pool("p".parse().expect("a name")));
        assert_eq!(Back::of(&route, "/app/x"), None);
        route.rewrite.path = Some(PathRewrite::Strip("/app/".to_owned()));
        assert_eq!(Back::of(&route, "/app/x"), Some(Back { from: "", to: "/app" }));
        assert_eq!(Back::of(&route, "/apple"), None);
        route.rewrite.path = Some(PathRewrite::ReplacePrefix("/new/".to_owned()));
        assert_eq!(Back::of(&route, "/old/x"), None);
        route.matching.path = Some(PathPattern::Prefix("/old".to_owned()));
        assert_eq!(Back::of(&route, "/old/x"), Some(Back { from: "/new", to: "/old" }));
    }

    #[test]
    fn cookies_of_backends() {
        let backends = Backends { names: vec![("app.internal.test".to_owned(), None)] };
        let holds = |domain: &str, host: &'static str| {
            let host = HeaderValue::from_static(host);
            backends.holds_domain(domain, &Side { secure: false, authority: Some(&host), back: None })
        };
        assert!(holds("app.internal.test", "www.example.com"));
        assert!(holds(".Internal.test", "www.example.com"));
        assert!(!holds("test", "www.test"));
        assert!(!holds("p.internal.test", "www.example.com"));
        assert!(!holds("example.com", "www.example.com"));
        assert!(!holds("", "www.example.com"));
    }
}
