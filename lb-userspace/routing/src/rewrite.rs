//! The path that goes to the backend; the query stays as it is.

use std::borrow::Cow;

use lb_model::http::{PathPattern, PathRewrite, Route};

use crate::head::{Captures, Head};
use crate::template::fill;

/// The path after the route's rewriting, without query. Borrowed where it is the normal path or an end of it.
#[must_use]
pub fn path<'a>(route: &Route, captures: &Captures, head: &Head<'a>) -> Cow<'a, str> {
    match &route.rewrite.path {
        None => Cow::Borrowed(head.path),
        Some(PathRewrite::Strip(prefix)) => Cow::Borrowed(strip(head.path, prefix)),
        Some(PathRewrite::ReplacePrefix(with)) => {
            let rest = head.path.get(matched(route, head.path)..).unwrap_or_default();
            let joined = format!("{}{rest}", with.trim_end_matches('/'));
            Cow::Owned(if joined.starts_with('/') { joined } else { format!("/{joined}") })
        }
        Some(PathRewrite::Path(template)) => {
            let path = fill(template, route, captures, head);
            Cow::Owned(if path.starts_with('/') { path } else { format!("/{path}") })
        }
    }
}

/// Takes whole segments off; a path that does not begin with them stays as it is.
fn strip<'a>(path: &'a str, prefix: &str) -> &'a str {
    match path.strip_prefix(prefix.trim_end_matches('/')) {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    }
}

/// How many bytes of the path the route's prefix or pattern matched, without the slash that follows.
fn matched(route: &Route, path: &str) -> usize {
    match &route.matching.path {
        None => 0,
        Some(PathPattern::Exact(_)) => path.len(),
        Some(PathPattern::Prefix(prefix)) => prefix.len(),
        Some(PathPattern::Pattern { segments, .. }) => {
            let mut ends = path.match_indices('/').map(|(at, _)| at).skip(1);
            ends.nth(segments.len().saturating_sub(1)).unwrap_or(path.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use http::{HeaderMap, Method};
    use lb_model::http::{Segment, Target, Template};

    use super::*;

    fn rewritten(pattern: Option<PathPattern>, rewrite: PathRewrite, path: &str) -> String {
        let mut route = Route::new("r".parse().expect("a name"), Target::Pool("p".parse().expect("a name")));
        route.matching.path = pattern;
        route.rewrite.path = Some(rewrite);
        let headers = HeaderMap::new();
        let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let head = Head { host: "h.test", path, query: Some("q=1"), method: &Method::GET, headers: &headers, source };
        let captures = Captures::of(&route, path);
        super::path(&route, &captures, &head).into_owned()
    }

    #[test]
    fn strip_takes_whole_segments() {
        for (prefix, path, out) in [
            ("/api/v2", "/api/v2/orders", "/orders"),
            ("/api/v2", "/api/v2", "/"),
            ("/api/v2", "/api/v2/", "/"),
            ("/api/v2/", "/api/v2/x", "/x"),
            ("/api", "/apix", "/apix"),
            ("/a", "/a//b", "//b"),
        ] {
            assert_eq!(rewritten(None, PathRewrite::Strip(prefix.into()), path), out, "{prefix} {path}");
        }
    }

    #[test]
    fn replace_prefix_replaces_what_matched() {
        let prefix = |p: &str| Some(PathPattern::Prefix(p.into()));
        for (pattern, with, path, out) in [
            (prefix("/old"), "/new", "/old/x", "/new/x"),
            (prefix("/old"), "/new/", "/old", "/new"),
            (prefix("/old"), "/", "/old/x", "/x"),
            (prefix("/old"), "/", "/old", "/"),
            (prefix(""), "/new", "/x", "/new/x"),
            (None, "/new", "/x", "/new/x"),
        ] {
            assert_eq!(rewritten(pattern, PathRewrite::ReplacePrefix(with.into()), path), out, "{path}");
        }
        let segments = vec![Segment::Literal("users".into()), Segment::Capture("id".into())];
        let pattern = Some(PathPattern::Pattern { segments, rest: true });
        assert_eq!(rewritten(pattern.clone(), PathRewrite::ReplacePrefix("/u".into()), "/users/5/a/b"), "/u/a/b");
        assert_eq!(rewritten(pattern, PathRewrite::ReplacePrefix("/u".into()), "/users/5"), "/u");
    }

    #[test]
    fn captures_stand_in_the_path() {
        let segments = vec![Segment::Literal("users".into()), Segment::Capture("id".into())];
        let pattern = Some(PathPattern::Pattern { segments, rest: false });
        let to = |t: &str| PathRewrite::Path(Template::parse(t).expect("a template"));
        assert_eq!(rewritten(pattern.clone(), to("/u/{id}/x"), "/users/a%20b"), "/u/a%20b/x");
        assert_eq!(rewritten(pattern, to("/{host}{path}"), "/users/1"), "/h.test/users/1");
    }
}
