//! The cookie that keeps a client at its backend: opaque, signed, and none of the backend's business.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use lb_model::Name;
use lb_model::http::Sticky;

/// Bytes of the signature that are kept: 144 bits, so that there is no padding.
const KEPT: usize = 18;

/// A backend's token: nothing but a signature over who it is, to be recognised and not to be read.
pub(crate) fn token(key: &[u8; 32], pool: &Name, backend: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut context = hmac::Context::with_key(&key);
    for part in ["lb sticky 1", pool.as_str(), backend] {
        context.update(part.as_bytes());
        context.update(&[0]);
    }
    let tag = context.sign();
    URL_SAFE_NO_PAD.encode(tag.as_ref().get(..KEPT).unwrap_or(tag.as_ref()))
}

/// The value of the first cookie of that name.
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get_all(COOKIE).into_iter().filter_map(|v| v.to_str().ok()).flat_map(pairs).find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then_some(value)
    })
}

/// Takes the cookie out of what the backend gets to see; the others stay as they are.
pub(crate) fn strip(headers: &mut HeaderMap, name: &str) {
    let is_it = |pair: &str| pair.split_once('=').map_or(pair, |(key, _)| key) == name;
    if !headers.get_all(COOKIE).into_iter().filter_map(|v| v.to_str().ok()).flat_map(pairs).any(is_it) {
        return;
    }
    let kept: Vec<HeaderValue> = headers
        .get_all(COOKIE)
        .into_iter()
        .filter_map(|value| {
            let Ok(text) = value.to_str() else { return Some(value.clone()) };
            let rest: Vec<&str> = pairs(text).filter(|pair| !is_it(pair)).collect();
            if rest.is_empty() { None } else { HeaderValue::from_str(&rest.join("; ")).ok() }
        })
        .collect();
    headers.remove(COOKIE);
    for value in kept {
        headers.append(COOKIE, value);
    }
}

fn pairs(text: &str) -> impl Iterator<Item = &str> {
    text.split(';').map(str::trim).filter(|pair| !pair.is_empty())
}

/// The Set-Cookie field (RFC 6265 §4.1).
pub(crate) fn set_cookie(sticky: &Sticky, token: &str, secure: bool) -> Option<HeaderValue> {
    let mut text = format!("{}={token}; Path=/; HttpOnly; SameSite={}", sticky.cookie, sticky.same_site.as_str());
    if !sticky.ttl.is_zero() {
        text.push_str(&format!("; Max-Age={}", sticky.ttl.as_secs().max(1)));
    }
    if secure {
        text.push_str("; Secure");
    }
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lb_model::http::SameSite;

    use super::*;

    fn headers(cookies: &[&'static str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for cookie in cookies {
            map.append(COOKIE, HeaderValue::from_static(cookie));
        }
        map
    }

    fn left(cookies: &[&'static str]) -> Vec<String> {
        let mut map = headers(cookies);
        strip(&mut map, "lb");
        map.get_all(COOKIE).iter().map(|v| v.to_str().expect("text").to_owned()).collect()
    }

    #[test]
    fn only_its_own_cookie_goes() {
        assert_eq!(left(&["a=1; lb=x; b=2"]), ["a=1; b=2"]);
        assert_eq!(left(&["lb=x"]), Vec::<String>::new());
        assert_eq!(left(&["a=1;  b=2", "lb=x; lb=y"]), ["a=1; b=2"]);
        assert_eq!(left(&["a=1;  lbx=2"]), ["a=1;  lbx=2"], "untouched without it");
        assert_eq!(find(&headers(&["a=1", "b=2; lb=x=y"]), "lb"), Some("x=y"));
        assert_eq!(find(&headers(&["xlb=1"]), "lb"), None);
    }

    #[test]
    fn tokens_differ_by_key_pool_and_backend() {
        let pool: Name = "web".parse().expect("a name");
        let other: Name = "api".parse().expect("a name");
        let one = token(&[1; 32], &pool, "10.0.0.1:80");
        assert_eq!(one, token(&[1; 32], &pool, "10.0.0.1:80"));
        assert_eq!(one.len(), 24);
        assert_ne!(one, token(&[2; 32], &pool, "10.0.0.1:80"));
        assert_ne!(one, token(&[1; 32], &other, "10.0.0.1:80"));
        assert_ne!(one, token(&[1; 32], &pool, "10.0.0.2:80"));
    }

    #[test]
    fn attributes() {
        let mut sticky = Sticky { cookie: "lb".into(), ttl: Duration::ZERO, same_site: SameSite::Lax };
        assert_eq!(set_cookie(&sticky, "t", false).expect("a field"), "lb=t; Path=/; HttpOnly; SameSite=Lax");
        sticky.ttl = Duration::from_secs(3600);
        sticky.same_site = SameSite::Strict;
        assert_eq!(
            set_cookie(&sticky, "t", true).expect("a field"),
            "lb=t; Path=/; HttpOnly; SameSite=Strict; Max-Age=3600; Secure"
        );
    }
}
