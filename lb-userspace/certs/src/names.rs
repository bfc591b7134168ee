//! Which names a certificate is for, and whether a host is one of them (RFC 9525 §6.3).

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// Lower case, addresses as text. The common name only where there is no subjectAltName at all: clients that still look
/// at it are served, others refuse by themselves.
pub(crate) fn of(certificate: &X509Certificate<'_>) -> Vec<String> {
    if let Ok(Some(san)) = certificate.subject_alternative_name() {
        return san.value.general_names.iter().filter_map(text).collect();
    }
    let names = certificate.subject().iter_common_name();
    names.filter_map(|n| n.as_str().ok()).filter(|n| !n.contains(' ')).map(str::to_ascii_lowercase).collect()
}

fn text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => {
            if let Ok(four) = <[u8; 4]>::try_from(*bytes) {
                Some(std::net::Ipv4Addr::from(four).to_string())
            } else {
                <[u8; 16]>::try_from(*bytes).ok().map(|b| std::net::Ipv6Addr::from(b).to_string())
            }
        }
        _ => None,
    }
}

/// `host` in lower case, without port, brackets or final dot.
pub(crate) fn canonical(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// The wildcard that would cover `host`: its first label replaced.
pub(crate) fn wildcard(host: &str) -> Option<String> {
    let (first, rest) = host.split_once('.')?;
    (!first.is_empty() && rest.contains(|c: char| !c.is_ascii_digit() && c != '.')).then(|| format!("*.{rest}"))
}

/// Does one of `names` cover `wanted`, itself a host or a wildcard?
pub(crate) fn cover(names: &[String], wanted: &str) -> bool {
    let wanted = canonical(wanted);
    names.contains(&wanted) || (!wanted.starts_with("*.") && wildcard(&wanted).is_some_and(|w| names.contains(&w)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_one_label() {
        let names = ["*.a.test".to_owned(), "b.test".to_owned(), "10.0.0.1".to_owned()];
        for (host, covered) in [
            ("x.a.test", true),
            ("X.A.Test.", true),
            ("x.y.a.test", false),
            ("a.test", false),
            ("b.test", true),
            ("x.b.test", false),
            ("*.a.test", true),
            ("*.x.a.test", false),
            ("*.b.test", false),
            ("10.0.0.1", true),
            ("10.0.0.2", false),
            ("", false),
            (".a.test", false),
        ] {
            assert_eq!(cover(&names, host), covered, "{host}");
        }
        assert!(!cover(&["*.0.0.1".to_owned()], "10.0.0.1"), "an address is no name below a wildcard");
    }
}
