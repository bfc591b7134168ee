//! Host names as routes and certificates name them: lower case, without port, in ASCII.

use std::net::{Ipv4Addr, Ipv6Addr};

use lb_model::http::HostPattern;

use crate::report::Problem;

/// `api.example.com`, `*.example.com`, `192.0.2.1`, `[2001:db8::1]`.
pub(super) fn pattern(text: &str) -> Result<HostPattern, Problem> {
    if text == "*" {
        let problem = Problem::new("'*' alone is no host");
        return Err(problem.hint("leave host out for every host; *.example.com is every name below example.com"));
    }
    let (wild, name) = text.strip_prefix("*.").map_or((false, text), |rest| (true, rest));
    if name.contains('*') {
        let problem = Problem::new(format!("'{text}': * stands for whole labels at the beginning, and nowhere else"));
        return Err(problem.hint("write *.example.com, or a list of hosts"));
    }
    let name = canonical(name)?;
    if wild && (name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok()) {
        return Err(Problem::new(format!("'{text}': an address has nothing below it")));
    }
    Ok(if wild { HostPattern::Wildcard(name) } else { HostPattern::Exact(name) })
}

/// One host as requests name it: what [`pattern`] takes, without `*`.
pub(super) fn canonical(text: &str) -> Result<String, Problem> {
    let ill = |why: &str| Problem::new(format!("'{text}' is not a host: {why}"));
    if let Some((scheme, rest)) = text.split_once("://") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        return Err(ill(&format!("it has the scheme {scheme}")).hint(format!("write {host}")));
    }
    if let Some((host, _)) = text.split_once('/') {
        return Err(ill("it has a path").hint(format!("write {host}, and the path in match = {{ path = … }}")));
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Err(ill("IPv6 addresses stand in brackets").hint(format!("write [{address}]")));
    }
    if let Some((address, after)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let address: Ipv6Addr = address.parse().map_err(|_| ill("there is no IPv6 address in the brackets"))?;
        let bare = || ill("it has a port, and hosts are told apart by their names").hint(format!("write [{address}]"));
        return if after.is_empty() { Ok(format!("[{address}]")) } else { Err(bare()) };
    }
    if let Some((host, _)) = text.split_once(':') {
        let problem = ill("it has a port, and hosts are told apart by their names");
        return Err(problem.hint(format!("write {host}; the port is the listener's")));
    }
    if !text.is_ascii() {
        let problem = ill("names in other scripts come as A-labels (RFC 5890)");
        return Err(problem.hint("write the form that begins with xn--, as `idn2 NAME` prints it"));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label = |l: &str| {
        (1..=63).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(ill("it must be letters, digits, '-' and '_' between dots").hint("for example: api.example.com"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_canonical() {
        for (text, expected) in [
            ("API.Example.com", "api.example.com"),
            ("a.test.", "a.test"),
            ("*.A.test", "*.a.test"),
            ("[2001:DB8:0::1]", "[2001:db8::1]"),
            ("192.0.2.1", "192.0.2.1"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(pattern(text).map(|h| h.to_string()).expect(text), expected);
        }
        for text in
            ["", "*", "a.*.test", "*a.test", "a:80", "[::1]:80", "::1", "http://a", "a/b", "müller.test", "a..b"]
        {
            let problem = pattern(text).expect_err(text);
            assert!(problem.hint.is_some() || text.is_empty(), "{text}: {}", problem.message);
        }
    }
}
