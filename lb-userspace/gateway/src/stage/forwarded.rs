//! Who the client is, and what the backend is told of it: X-Forwarded-*, Forwarded (RFC 7239), Via, X-Request-Id.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::IpAddr;

use http::header::{FORWARDED, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use lb_model::http::Listener;

use super::chain;
use super::head::Seen;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What is the same for all requests of a connection; made once for it.
#[derive(Debug)]
pub struct Peer {
    /// The peer's address, or the PROXY header's.
    pub address: IpAddr,
    /// Its forwarding fields are believed.
    pub trusted: bool,
    /// TLS or QUIC.
    pub secure: bool,
    text: HeaderValue,
    /// The Forwarded element of the last request's Host: a connection seldom changes it.
    element: RefCell<Option<(HeaderValue, HeaderValue)>>,
}

impl Peer {
    #[must_use]
    pub fn new(listener: &Listener, address: IpAddr, secure: bool) -> Self {
        let address = address.to_canonical();
        Self {
            address,
            trusted: listener.trusts(address),
            secure,
            text: field(&address.to_string()),
            element: RefCell::new(None),
        }
    }

    /// The client: for logs, limits and hashing. The rightmost address that is not trusted; the leftmost if all are. What
    /// is no address ends the search: nobody knows who stands before it.
    ///
    /// X-Forwarded-For is asked first, for that is what most proxies write; Forwarded where there is none.
    #[must_use]
    pub fn client(&self, listener: &Listener, headers: &HeaderMap) -> IpAddr {
        if !self.trusted {
            return self.address;
        }
        let mut client = self.address;
        for element in chain::read(headers).iter().rev() {
            let Some(address) = element else { break };
            client = *address;
            if !listener.trusts(client) {
                break;
            }
        }
        client
    }

    /// The X-Request-Id of a trusted peer, if it is one: at most 128 letters, digits and `-._~:=+/@`.
    #[must_use]
    pub fn request_id(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if !self.trusted {
            return None;
        }
        let mut values = headers.get_all(X_REQUEST_ID).iter();
        let value = values.next()?;
        let known = |b: &u8| b.is_ascii_alphanumeric() || b"-._~:=+/@".contains(b);
        let valid = (1..=128).contains(&value.len()) && value.as_bytes().iter().all(known);
        (valid && values.next().is_none()).then(|| value.clone())
    }

    /// Replaces and completes the fields of a request. `authority`: as the client wrote it; `version`: the client's.
    pub fn tell(
        &self,
        headers: &mut HeaderMap,
        seen: Seen,
        authority: Option<&HeaderValue>,
        version: Version,
        request_id: &HeaderValue,
    ) {
        headers.reserve(6);
        let believed = seen.forwarding && self.trusted;
        if seen.forwarding && !self.trusted {
            drop_all(headers);
        }
        if believed {
            self.add_to_chain(headers, authority);
        } else {
            headers.insert(X_FORWARDED_FOR, self.text.clone());
            headers.insert(FORWARDED, self.element(authority));
        }
        if !(believed && headers.contains_key(X_FORWARDED_PROTO)) {
            headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(self.scheme()));
        }
        if let Some(authority) = authority
            && !(believed && headers.contains_key(X_FORWARDED_HOST))
        {
            headers.insert(X_FORWARDED_HOST, authority.clone());
        }
        let ours = via(version);
        let all = if believed { appended(headers, &VIA, ours) } else { None };
        headers.insert(VIA, all.unwrap_or(HeaderValue::from_static(ours)));
        headers.insert(X_REQUEST_ID, request_id.clone());
    }

    const fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// Both chains get the peer's address. They stay of one mind: where only one came, or Forwarded tells of other
    /// addresses (a proxy that knows X-Forwarded-For alone lets its clients' Forwarded through), it is made from the other.
    fn add_to_chain(&self, headers: &mut HeaderMap, authority: Option<&HeaderValue>) {
        let element = self.element(authority);
        let mine = self.text.to_str().unwrap_or_default();
        let chain = chain::read(headers);
        let same = headers.contains_key(FORWARDED) && chain::of_forwarded(headers) == chain;
        let forwarded = if same {
            appended(headers, &FORWARDED, element.to_str().unwrap_or_default())
        } else {
            let mut text = chain::as_forwarded(&chain);
            if !text.is_empty() {
                text.push_str(", ");
            }
            text.push_str(element.to_str().unwrap_or_default());
            HeaderValue::try_from(text).ok()
        };
        let for_ = if headers.contains_key(X_FORWARDED_FOR) {
            appended(headers, &X_FORWARDED_FOR, mine)
        } else {
            let mut text = chain::as_list(&chain);
            text.push_str(if text.is_empty() { "" } else { ", " });
            text.push_str(mine);
            HeaderValue::try_from(text).ok()
        };
        headers.insert(FORWARDED, forwarded.unwrap_or(element));
        headers.insert(X_FORWARDED_FOR, for_.unwrap_or_else(|| self.text.clone()));
    }

    fn element(&self, authority: Option<&HeaderValue>) -> HeaderValue {
        let authority = authority.cloned().unwrap_or(HeaderValue::from_static(""));
        let mut last = self.element.borrow_mut();
        if let Some((host, element)) = &*last
            && *host == authority
        {
            return element.clone();
        }
        let element = field(&self.write_element(authority.to_str().unwrap_or_default()));
        *last = Some((authority, element.clone()));
        element
    }

    fn write_element(&self, host: &str) -> String {
        let mut text = String::with_capacity(64);
        text.push_str("for=");
        chain::push_node(&mut text, self.address);
        if !host.is_empty() {
            // A colon or a bracket is no token's (RFC 7239 §4). A host that was judged holds no quote and no backslash.
            let quote = if host.contains([':', '[']) { "\"" } else { "" };
            let _ = write!(text, ";host={quote}{host}{quote}");
        }
        let _ = write!(text, ";proto={}", self.scheme());
        text
    }
}

/// A field about the client or the way of its request, which an untrusted peer may not send.
pub(crate) fn is_forwarding(name: &HeaderName) -> bool {
    let text = name.as_str();
    *name == FORWARDED
        || *name == VIA
        || (text.starts_with("x-") && (text.starts_with("x-forwarded-") || *name == X_REAL_IP || *name == X_REQUEST_ID))
}

fn drop_all(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|n| is_forwarding(n)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// All lines of a field and one more element, as one line.
fn appended(headers: &HeaderMap, name: &HeaderName, element: &str) -> Option<HeaderValue> {
    let mut text = Vec::with_capacity(96);
    for value in headers.get_all(name) {
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b", ");
    }
    text.extend_from_slice(element.as_bytes());
    HeaderValue::try_from(text).ok()
}

/// The protocol that the request came in (RFC 9110 §7.6.3), and who passed it on.
const fn via(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 | Version::HTTP_10 => "1.0 lb",
        Version::HTTP_2 => "2 lb",
        Version::HTTP_3 => "3 lb",
        _ => "1.1 lb",
    }
}

/// Of a text that is made here of characters that a field may hold.
fn field(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::Name;

    fn listener() -> Listener {
        let mut listener =
            Listener::new("edge".parse::<Name>().expect("a name"), "127.0.0.1:80".parse().expect("an address"));
        listener.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a prefix"), "fd00::/8".parse().expect("a prefix")];
        listener
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().expect("a value"));
        }
        map
    }

    fn peer(address: &str) -> Peer {
        Peer::new(&listener(), address.parse().expect("an address"), true)
    }

    fn told(peer: &Peer, mut map: HeaderMap) -> Vec<(String, String)> {
        let seen = Seen { forwarding: map.keys().any(is_forwarding), ..Seen::default() };
        let host = HeaderValue::from_static("www.test:8443");
        peer.tell(&mut map, seen, Some(&host), Version::HTTP_11, &HeaderValue::from_static("id"));
        let mut all: Vec<_> = map.iter().map(|(n, v)| (n.to_string(), v.to_str().expect("text").to_owned())).collect();
        all.sort();
        all
    }

    fn get<'a>(all: &'a [(String, String)], name: &str) -> Vec<&'a str> {
        all.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let all = told(
            &peer("203.0.113.9"),
            headers(&[
                ("x-forwarded-for", "1.1.1.1"),
                ("x-forwarded-for", "2.2.2.2"),
                ("x-forwarded-proto", "gopher"),
                ("x-forwarded-host", "evil.test"),
                ("x-forwarded-port", "1"),
                ("forwarded", "for=1.1.1.1"),
                ("via", "1.1 other"),
                ("x-real-ip", "1.1.1.1"),
                ("x-request-id", "mine"),
                ("x-other", "stays"),
            ]),
        );
        let want = [
            ("forwarded", "for=203.0.113.9;host=\"www.test:8443\";proto=https"),
            ("via", "1.1 lb"),
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-host", "www.test:8443"),
            ("x-forwarded-proto", "https"),
            ("x-other", "stays"),
            ("x-request-id", "id"),
        ];
        let all: Vec<(&str, &str)> = all.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(all, want);
    }

    #[test]
    fn a_trusted_peer_is_completed() {
        let all = told(
            &peer("10.0.0.1"),
            headers(&[
                ("x-forwarded-for", "1.1.1.1"),
                ("x-forwarded-for", "10.2.2.2"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", "shop.test"),
                ("x-real-ip", "1.1.1.1"),
                ("via", "2 other"),
            ]),
        );
        assert_eq!(get(&all, "x-forwarded-for"), ["1.1.1.1, 10.2.2.2, 10.0.0.1"]);
        assert_eq!(get(&all, "x-forwarded-proto"), ["http"]);
        assert_eq!(get(&all, "x-forwarded-host"), ["shop.test"]);
        assert_eq!(get(&all, "x-real-ip"), ["1.1.1.1"]);
        assert_eq!(get(&all, "via"), ["2 other, 1.1 lb"]);
        assert_eq!(
            get(&all, "forwarded"),
            ["for=1.1.1.1, for=10.2.2.2, for=10.0.0.1;host=\"www.test:8443\";proto=https"]
        );
    }

    #[test]
    fn the_two_chains_stay_of_one_mind() {
        let mine = "for=\"[fd00::1]\";host=\"www.test:8443\";proto=https";
        let agreeing = headers(&[("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=1.1.1.1;proto=http")]);
        assert_eq!(get(&told(&peer("fd00::1"), agreeing), "forwarded"), [format!("for=1.1.1.1;proto=http, {mine}")]);
        // The client's own Forwarded, let through by a proxy that does not know the field.
        let differing = headers(&[("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=6.6.6.6")]);
        assert_eq!(get(&told(&peer("fd00::1"), differing), "forwarded"), [format!("for=1.1.1.1, {mine}")]);
        let alone = headers(&[("forwarded", "for=\"[2001:db8::7]:4711\"")]);
        let all = told(&peer("fd00::1"), alone);
        assert_eq!(get(&all, "x-forwarded-for"), ["2001:db8::7, fd00::1"]);
        assert_eq!(get(&all, "forwarded"), [format!("for=\"[2001:db8::7]:4711\", {mine}")]);
    }

    #[test]
    fn the_client_is_the_rightmost_that_is_not_trusted() {
        let listener = listener();
        let client =
            |from: &str, lines: &[(&'static str, &str)]| peer(from).client(&listener, &headers(lines)).to_string();
        type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);
        let cases: &[Case] = &[
            ("203.0.113.9", &[("x-forwarded-for", "1.1.1.1")], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("::ffff:10.0.0.1", &[("x-forwarded-for", "1.1.1.1")], "1.1.1.1"),
            ("10.0.0.1", &[("x-forwarded-for", "6.6.6.6, 1.1.1.1, 10.9.9.9")], "1.1.1.1"),
            ("10.0.0.1", &[("x-forwarded-for", "6.6.6.6, 1.1.1.1"), ("x-forwarded-for", "10.9.9.9")], "1.1.1.1"),
            ("10.0.0.1", &[("x-forwarded-for", "10.1.1.1, 10.2.2.2")], "10.1.1.1"),
            ("10.0.0.1", &[("x-forwarded-for", "1.1.1.1, unknown, 10.2.2.2")], "10.2.2.2"),
            ("10.0.0.1", &[("x-forwarded-for", "1.1.1.1, ")], "10.0.0.1"),
            ("10.0.0.1", &[("x-forwarded-for", "1.1.1.1:8080")], "1.1.1.1"),
            ("10.0.0.1", &[("x-forwarded-for", "[2001:db8::1]:80")], "2001:db8::1"),
            ("10.0.0.1", &[("forwarded", "for=1.1.1.1, for=\"[fd00::2]\"")], "1.1.1.1"),
            ("10.0.0.1", &[("forwarded", "for=1.1.1.1, for=_hidden")], "10.0.0.1"),
            ("10.0.0.1", &[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "1.1.1.1")], "1.1.1.1"),
        ];
        for (from, lines, want) in cases {
            assert_eq!(client(from, lines), *want, "{from} {lines:?}");
        }
    }

    #[test]
    fn request_ids_are_kept_from_trusted_peers_if_valid() {
        let kept = |from: &str, lines: &[(&'static str, &str)]| peer(from).request_id(&headers(lines)).is_some();
        assert!(kept("10.0.0.1", &[("x-request-id", "abc-123")]));
        assert!(!kept("203.0.113.9", &[("x-request-id", "abc-123")]));
        assert!(!kept("10.0.0.1", &[("x-request-id", "a b")]));
        assert!(!kept("10.0.0.1", &[("x-request-id", "")]));
        assert!(!kept("10.0.0.1", &[("x-request-id", "a"), ("x-request-id", "b")]));
        assert!(!kept("10.0.0.1", &[("x-request-id", &"a".repeat(129))]));
    }

    #[test]
    fn the_element_follows_the_host() {
        let peer = peer("203.0.113.9");
        for host in ["a.test", "b.test", "b.test"] {
            let element = peer.element(Some(&HeaderValue::from_static(host)));
            assert_eq!(element, format!("for=203.0.113.9;host={host};proto=https"));
        }
        assert_eq!(peer.element(None), "for=203.0.113.9;proto=https");
    }
}
