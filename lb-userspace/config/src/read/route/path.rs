//! `match.path`: exact, prefix or pattern, in the normal form that requests are brought to before they are matched.

use std::collections::HashSet;

use lb_model::http::{PathPattern, Segment, UnsafeEscape};

use crate::report::Problem;

/// Names that templates give to parts of the request.
const TAKEN: [&str; 3] = ["host", "path", "query"];

pub(super) fn pattern(text: &str, allowed: &[UnsafeEscape]) -> Result<PathPattern, Problem> {
    check_normal(text)?;
    if let Some(escape) =
        UnsafeEscape::ALL.into_iter().find(|e| text.contains(&e.as_str().to_ascii_uppercase()) && !allowed.contains(e))
    {
        let name = escape.as_str();
        let problem = Problem::new(format!("requests with {name} in their path are refused, so this never matches"));
        return Err(problem.hint(format!("add path_unsafe = [\"{name}\"] to the route")));
    }
    let (body, rest) = text.strip_suffix("/*").map_or((text, false), |body| (body, true));
    if body.contains('*') {
        let problem = Problem::new(format!("'{text}': * stands for whole segments, at the end, and nowhere else"));
        let hint = "write /a/* for /a and all below it, /users/{id} for one segment of any name";
        return Err(problem.hint(hint));
    }
    if !body.contains(['{', '}']) {
        return Ok(if rest { PathPattern::Prefix(body.to_owned()) } else { PathPattern::Exact(body.to_owned()) });
    }
    let mut seen = HashSet::new();
    let segments = body[1..].split('/').map(|s| segment(s, &mut seen)).collect::<Result<_, _>>()?;
    Ok(PathPattern::Pattern { segments, rest })
}

fn segment<'t>(text: &'t str, seen: &mut HashSet<&'t str>) -> Result<Segment, Problem> {
    let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}'));
    let Some(name) = inner else {
        if text.contains(['{', '}']) {
            let problem = Problem::new(format!("'{text}': a capture is a whole segment"));
            return Err(problem.hint("write /users/{id}, with slashes around it; a brace itself is %7B or %7D"));
        }
        return Ok(Segment::Literal(text.to_owned()));
    };
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let problem = Problem::new(format!("'{{{name}}}' is not a capture"));
        return Err(problem.hint("a capture has a name of letters, digits and '_': {id}"));
    }
    if TAKEN.contains(&name) {
        let problem = Problem::new(format!("'{{{name}}}' means the request's {name} in rewrite, redirect and respond"));
        return Err(problem.hint("give the capture another name"));
    }
    if !seen.insert(name) {
        let problem = Problem::new(format!("'{{{name}}}' is here a second time"));
        return Err(problem.hint("give each capture a name of its own"));
    }
    Ok(Segment::Capture(name.to_owned()))
}

/// A path that requests can have once they are in normal form.
pub(super) fn check_normal(text: &str) -> Result<(), Problem> {
    if text == "*" {
        return Err(Problem::new("'*' is no path").hint("write /* for every path, or leave it out"));
    }
    if let Some((_, rest)) = text.split_once("://") {
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let problem = Problem::new(format!("'{text}' is a URL, not a path"));
        return Err(problem.hint(format!("write host = \"{host}\", path = \"/{path}\"")));
    }
    if !text.starts_with('/') {
        let problem = Problem::new(format!("'{text}' does not begin with a slash, and every path does"));
        return Err(problem.hint(format!("write /{text}")));
    }
    if let Some((path, _)) = text.split_once(['?', '#']) {
        let problem = Problem::new(format!("'{text}' is more than a path"));
        return Err(problem.hint(format!("write {path}, and parameters in match = {{ query = {{ … }} }}")));
    }
    let normal = normal(text).ok_or_else(|| {
        Problem::new(format!("'{text}' has a % that is no escape")).hint("a percent sign itself is written %25")
    })?;
    if normal == text {
        return Ok(());
    }
    let problem = Problem::new(format!("'{text}' never matches: paths are compared in their normal form"));
    Err(problem.hint(format!("write {normal}")))
}

/// RFC 3986 §6.2.2: unreserved bytes as they are, others that may not stand in a path escaped, escapes in upper case,
/// dots resolved. `None`: a `%` without two digits.
fn normal(path: &str) -> Option<String> {
    let mut bytes = path.bytes();
    let mut plain = String::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        let (byte, escaped) = if byte == b'%' {
            let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
            ((digit()? << 4 | digit()?) as u8, true)
        } else {
            (byte, byte <= b' ' || byte >= 0x7f || byte == b'\\')
        };
        let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if escaped && !unreserved {
            plain.push_str(&format!("%{byte:02X}"));
        } else {
            plain.push(char::from(byte));
        }
    }
    let mut out: Vec<&str> = Vec::new();
    let segments: Vec<&str> = plain[1..].split('/').collect();
    for (i, segment) in segments.iter().enumerate() {
        let last = i + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    out.pop();
                }
                if last {
                    out.push("");
                }
            }
            other => out.push(other),
        }
    }
    Some(format!("/{}", out.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_read_back_as_written() {
        for text in
            ["/", "/a", "/a/", "/a//b", "/*", "/a/*", "/users/{id}", "/users/{id}/*", "/{a}/x/{b_2}/", "/%7B", "/a;b=c"]
        {
            assert_eq!(pattern(text, &[]).map(|p| p.to_string()).expect(text), text);
        }
        assert_eq!(pattern("/*", &[]).expect("all"), PathPattern::Prefix(String::new()));
        assert!(pattern("/a%2Fb", &[UnsafeEscape::Slash]).is_ok());
    }

    #[test]
    fn what_never_matches_is_told_with_what_would() {
        for (text, hint) in [
            ("*", "/*"),
            ("a", "/a"),
            ("", "/"),
            ("/a?b", "/a"),
            ("/a/../b", "write /b"),
            ("/a/./b/.", "write /a/b/"),
            ("/%7euser", "write /~user"),
            ("/a%2b", "write /a%2B"),
            ("/a b", "write /a%20b"),
            ("/é", "write /%C3%A9"),
            ("/100%", "%25"),
            ("/a*", "/a/*"),
            ("/*/a", "/a/*"),
            ("/a{b}", "/users/{id}"),
            ("/{a}/{a}", "of its own"),
            ("/{path}", "another name"),
            ("/{}", "{id}"),
            ("/a%2F", "path_unsafe"),
            ("http://h/p", "host = \"h\", path = \"/p\""),
        ] {
            let problem = pattern(text, &[]).expect_err(text);
            assert!(problem.hint.as_deref().unwrap_or_default().contains(hint), "{text}: {problem:?}");
        }
    }
}
