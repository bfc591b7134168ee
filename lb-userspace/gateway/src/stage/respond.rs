//! A backend's answer made presentable: nothing in it names a backend, and every answer carries what the listener adds.

use http::header::{
    ALT_SVC, CONTENT_LENGTH, CONTENT_LOCATION, LOCATION, SERVER, SET_COOKIE, STRICT_TRANSPORT_SECURITY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;
use lb_message::Body;
use lb_model::http::Listener;

use super::forwarded::X_REQUEST_ID;
use super::location;
pub use super::location::{Back, Backends, Side};

const X_POWERED_BY: HeaderName = HeaderName::from_static("x-powered-by");

/// What a listener adds to all of its responses; made when a configuration is.
#[derive(Debug, Default)]
pub struct Face {
    hsts: Option<HeaderValue>,
    alt_svc: Option<HeaderValue>,
}

impl Face {
    #[must_use]
    pub fn new(listener: &Listener) -> Self {
        let seconds = listener.hsts.as_secs();
        let hsts = (listener.is_tls() && seconds > 0).then(|| format!("max-age={seconds}"));
        let alt_svc = listener.protocols.h3.then(|| format!("h3=\":{}\"; ma=86400", listener.listen.port()));
        let field = |text: Option<String>| text.and_then(|t| HeaderValue::try_from(t).ok());
        Self { hsts: field(hsts), alt_svc: field(alt_svc) }
    }

    /// To every response, ours or a backend's.
    pub fn put(&self, headers: &mut HeaderMap, request_id: &HeaderValue) {
        if let Some(hsts) = &self.hsts {
            headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        if let Some(alt_svc) = &self.alt_svc {
            headers.insert(ALT_SVC, alt_svc.clone());
        }
        headers.insert(X_REQUEST_ID, request_id.clone());
    }
}

/// Cleans the fields of a backend's response, after [`super::hop::response`].
pub fn clean(headers: &mut HeaderMap, backends: &Backends, side: &Side<'_>) {
    headers.remove(SERVER);
    headers.remove(X_POWERED_BY);
    // It would tell of the backend's own ports (RFC 7838).
    headers.remove(ALT_SVC);
    for name in [LOCATION, CONTENT_LOCATION] {
        let new = headers.get(&name).and_then(|v| location::outside(v.to_str().ok()?, backends, side));
        if let Some(new) = new.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(name, new);
        }
    }
    if headers.contains_key(SET_COOKIE) {
        clean_cookies(headers, backends, side);
    }
}

fn clean_cookies(headers: &mut HeaderMap, backends: &Backends, side: &Side<'_>) {
    for value in headers.iter_mut().filter(|(n, _)| **n == SET_COOKIE).map(|(_, v)| v) {
        let new = value.to_str().ok().and_then(|text| without_domain(text, backends, side));
        if let Some(new) = new.and_then(|text| HeaderValue::try_from(text).ok()) {
            *value = new;
        }
    }
}

/// A cookie without its Domain, if that names a backend: the client would not take it. It is then the host's own.
fn without_domain(cookie: &str, backends: &Backends, side: &Side<'_>) -> Option<String> {
    let of_backend = |attribute: &str| {
        attribute.split_once('=').is_some_and(|(name, domain)| {
            name.trim().eq_ignore_ascii_case("domain") && backends.holds_domain(domain.trim(), side)
        })
    };
    if !cookie.split(';').skip(1).any(of_backend) {
        return None;
    }
    let kept = cookie.split(';').enumerate().filter(|(at, attribute)| *at == 0 || !of_backend(attribute));
    Some(kept.map(|(_, attribute)| attribute).collect::<Vec<_>>().join(";"))
}

/// Takes the body from a response that has none: to HEAD, and of 204 and 304 (RFC 9110 §6.4.1). What HEAD's length would
/// have been stays said.
pub fn fit(method: &Method, response: &mut Response<Body>) {
    let status = response.status();
    let bodiless = status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !bodiless && *method != Method::HEAD {
        return;
    }
    let body = std::mem::take(response.body_mut());
    if status == StatusCode::NO_CONTENT || status.is_informational() {
        response.headers_mut().remove(CONTENT_LENGTH);
    } else if !bodiless
        && !response.headers().contains_key(CONTENT_LENGTH)
        && let Body::Full(_) = body
        && let Some(length) = body.size_hint().exact()
    {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use lb_model::http::{Certificate, CertificateSource};

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().expect("a value"));
        }
        map
    }

    fn side(authority: &HeaderValue) -> Side<'_> {
        Side { secure: true, authority: Some(authority), back: None }
    }

    #[test]
    fn what_tells_of_a_backend_goes() {
        let mut map = headers(&[
            ("server", "Apache"),
            ("x-powered-by", "PHP"),
            ("alt-svc", "h3=\":8443\""),
            ("location", "http://10.0.0.11:8080/x"),
            ("content-location", "http://10.0.0.11:8080/y"),
            ("set-cookie", "a=1; Domain=10.0.0.11; Path=/"),
            ("set-cookie", "b=2; domain=.example.com; Secure"),
            ("set-cookie", "c=domain=10.0.0.11"),
            ("content-type", "text/plain"),
        ]);
        let backends = Backends::of(&[("10.0.0.11", 8080)]);
        let host = HeaderValue::from_static("www.example.com");
        clean(&mut map, &backends, &side(&host));
        let want = headers(&[
            ("location", "https://www.example.com/x"),
            ("content-location", "https://www.example.com/y"),
            ("set-cookie", "a=1; Path=/"),
            ("set-cookie", "b=2; domain=.example.com; Secure"),
            ("set-cookie", "c=domain=10.0.0.11"),
            ("content-type", "text/plain"),
        ]);
        assert_eq!(map, want);
    }

    #[test]
    fn a_listener_adds_what_it_is_told() {
        let mut listener =
            Listener::new("edge".parse().expect("a name"), "127.0.0.1:8443".parse().expect("an address"));
        let put = |listener: &Listener| {
            let mut map = headers(&[("strict-transport-security", "max-age=1")]);
            Face::new(listener).put(&mut map, &HeaderValue::from_static("id"));
            map
        };
        listener.hsts = Duration::from_secs(86400);
        // In clear text the field means nothing (RFC 6797 §7.2).
        assert_eq!(put(&listener), headers(&[("strict-transport-security", "max-age=1"), ("x-request-id", "id")]));
        let files = CertificateSource::Files { cert: "c.pem".into(), key: "k.pem".into() };
        listener.certificates = vec![Certificate { names: Vec::new(), source: files }];
        listener.protocols.h3 = true;
        let want = headers(&[
            ("strict-transport-security", "max-age=86400"),
            ("x-request-id", "id"),
            ("alt-svc", "h3=\":8443\"; ma=86400"),
        ]);
        assert_eq!(put(&listener), want);
    }

    #[test]
    fn bodies_go_where_none_may_be() {
        let fitted = |method: Method, status: u16| {
            let mut response = Response::new(Body::full("hello"));
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            fit(&method, &mut response);
            (response.body().size_hint().exact(), response.headers().get(CONTENT_LENGTH).cloned())
        };
        assert_eq!(fitted(Method::GET, 200), (Some(5), None));
        assert_eq!(fitted(Method::HEAD, 200), (Some(0), Some(HeaderValue::from(5))));
        assert_eq!(fitted(Method::GET, 204), (Some(0), None));
        assert_eq!(fitted(Method::GET, 304), (Some(0), None));
        assert_eq!(fitted(Method::HEAD, 304), (Some(0), None));
    }
}
