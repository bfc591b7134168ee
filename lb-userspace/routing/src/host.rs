//! A request's host in its canonical form.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// Who is asked for: `www.example.com`, `192.0.2.1`, `[2001:db8::1]` (brackets kept).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    /// Lower case, without a trailing dot.
    pub name: Cow<'a, str>,
    pub port: Option<u16>,
}

#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum HostFault {
    #[error("the host is not a name or an address")]
    Name,
    #[error("the host's port is none")]
    Port,
}

/// Reads `host` or `host:port` (RFC 3986 §3.2.2, without user information, escapes and empty ports).
///
/// # Errors
/// [`HostFault`]: the request is not valid.
pub fn canonical(authority: &str) -> Result<Host<'_>, HostFault> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or(HostFault::Name)?;
        let address: Ipv6Addr = address.parse().map_err(|_| HostFault::Name)?;
        let port = if after.is_empty() { None } else { Some(port(after.strip_prefix(':').ok_or(HostFault::Name)?)?) };
        let text = format!("[{address}]");
        let name = match authority.get(..text.len()) {
            Some(same) if same == text => Cow::Borrowed(same),
            _ => Cow::Owned(text),
        };
        return Ok(Host { name, port });
    }
    let (name, port) = match authority.split_once(':') {
        Some((name, digits)) => (name, Some(port(digits)?)),
        None => (authority, None),
    };
    Ok(Host { name: lower(name)?, port })
}

fn port(digits: &str) -> Result<u16, HostFault> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(HostFault::Port);
    }
    digits.parse().map_err(|_| HostFault::Port)
}

fn lower(name: &str) -> Result<Cow<'_, str>, HostFault> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.ends_with('.') || name.len() > 253 {
        return Err(HostFault::Name);
    }
    let mut upper = false;
    let mut before = b'.';
    for &b in name.as_bytes() {
        let known = b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_') || (b == b'.' && before != b'.');
        if !known {
            return Err(HostFault::Name);
        }
        upper |= b.is_ascii_uppercase();
        before = b;
    }
    Ok(if upper { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms() {
        for (given, name, port) in [
            ("example.com", "example.com", None),
            ("Example.COM.:80", "example.com", Some(80)),
            ("192.0.2.1:8080", "192.0.2.1", Some(8080)),
            ("[2001:DB8:0::1]", "[2001:db8::1]", None),
            ("[::1]:443", "[::1]", Some(443)),
            ("a_b-c.test", "a_b-c.test", None),
        ] {
            let host = canonical(given).expect("a host");
            assert_eq!((host.name.as_ref(), host.port), (name, port), "{given}");
        }
    }

    #[test]
    fn what_is_no_host() {
        for given in [
            "", ".", ":80", "a b", "a/b", "a@b", "a:b", "a:", "a:65536", "a:-1", "a:+1", "a..b", "a..", "a..:80", ".a",
            "[::1", "[x]", "[::1]x", "a%41", "a\tb", "a#b", "a?b", "a,b", "\u{e9}", "[::1]:", "a:80:80",
        ] {
            assert!(canonical(given).is_err(), "{given}");
        }
        assert!(canonical(&"a".repeat(254)).is_err());
    }
}
