//! Is a parsed head one that may be served: Host, framing, method, target, what HTTP/2 may not carry.
//!
//! What parsing hides cannot be judged here and is the connection's business (bare CR, obs-fold, `#` in a target, a
//! Content-Length that hyper took away beside a Transfer-Encoding).

use std::borrow::Cow;

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use lb_model::http::Refusal;

use super::Fault;

/// What the head said that later stages need, so that they do not look again.
#[derive(Clone, Debug)]
pub struct Judged {
    /// As the client wrote it, with its port: what goes on as Host, and into X-Forwarded-Host. `None`: HTTP/1.0 without.
    pub authority: Option<HeaderValue>,
    host: HostText,
    pub seen: Seen,
}

/// Fields that are there; a `false` saves a stage its look-ups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Fields of one connection: [`super::hop::request`] has something to do.
    pub hop: bool,
    pub upgrade: bool,
    /// Fields about the client that only a trusted peer may send.
    pub forwarding: bool,
    /// Names with an underscore: [`drop_ambiguous`] has something to do.
    pub ambiguous: bool,
    pub content_length: Option<u64>,
}

#[derive(Clone, Debug)]
enum HostText {
    /// The first so many bytes of the authority.
    Within(usize),
    Own(String),
}

impl Judged {
    /// Canonical: lower case, no port. Empty: none was given.
    #[must_use]
    pub fn host(&self) -> &str {
        match &self.host {
            HostText::Own(text) => text,
            HostText::Within(end) => {
                self.authority.as_ref().and_then(|a| a.to_str().ok()).and_then(|a| a.get(..*end)).unwrap_or_default()
            }
        }
    }
}

/// Looks at a head once.
///
/// `extended`: the request is an extended CONNECT (RFC 8441), whose protocol [`super::upgrade`] judges.
///
/// # Errors
/// [`Fault`]: the answer.
pub fn judge(
    method: &Method,
    uri: &Uri,
    version: Version,
    headers: &HeaderMap,
    uri_limit: u64,
    extended: bool,
) -> Result<Judged, Fault> {
    judge_method(method, extended)?;
    judge_target(method, uri, uri_limit)?;
    let multiplexed = version >= Version::HTTP_2;
    let mut fields = Fields::default();
    for (name, value) in headers {
        fields.take(name, value, multiplexed)?;
    }
    if !multiplexed {
        fields.judge_framing(version)?;
    }
    let (authority, host) = fields.authority(uri, version)?;
    Ok(Judged { authority, host, seen: fields.seen })
}

/// Takes out fields whose name has an underscore: many backends cannot tell them from those with a hyphen, so that
/// `X_Forwarded_For` would pass where `X-Forwarded-For` does not. Says how many.
pub fn drop_ambiguous(headers: &mut HeaderMap) -> usize {
    let names: Vec<HeaderName> = headers.keys().filter(|n| ambiguous(n)).cloned().collect();
    for name in &names {
        headers.remove(name);
    }
    names.len()
}

fn ambiguous(name: &HeaderName) -> bool {
    name.as_str().as_bytes().contains(&b'_')
}

fn judge_method(method: &Method, extended: bool) -> Result<(), Fault> {
    match *method {
        Method::CONNECT if !extended => Err(Fault::last(Refusal::MethodNotAllowed, "CONNECT is not served")),
        Method::TRACE => Err(Fault::last(Refusal::MethodNotAllowed, "TRACE is not served")),
        _ => Ok(()),
    }
}

fn judge_target(method: &Method, uri: &Uri, limit: u64) -> Result<(), Fault> {
    let path = uri.path();
    let query = uri.query().map_or(0, |q| q.len() + 1);
    if (path.len() + query) as u64 > limit {
        return Err(Fault::last(Refusal::UriTooLong, "the target is longer than is taken here"));
    }
    if path == "*" {
        return if *method == Method::OPTIONS { Ok(()) } else { Err(bad("'*' is a target of OPTIONS only")) };
    }
    // Without a path it is CONNECT's form (RFC 9112 §3.2.3).
    if !path.starts_with('/') {
        return Err(bad("the target is not a path"));
    }
    if uri.scheme_str().is_some_and(|s| !s.eq_ignore_ascii_case("http") && !s.eq_ignore_ascii_case("https")) {
        return Err(bad("the target's scheme is not http or https"));
    }
    Ok(())
}

/// What one pass over the fields gathers.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a HeaderValue>,
    transfer_encoding: Option<&'a HeaderValue>,
    seen: Seen,
}

impl<'a> Fields<'a> {
    fn take(&mut self, name: &'a HeaderName, value: &'a HeaderValue, multiplexed: bool) -> Result<(), Fault> {
        if multiplexed {
            judge_multiplexed(name, value)?;
        }
        match *name {
            HOST => once(&mut self.host, value, "more than one Host")?,
            CONTENT_LENGTH => {
                let length = content_length(value)?;
                if self.seen.content_length.replace(length).is_some() {
                    return Err(bad("more than one Content-Length"));
                }
            }
            TRANSFER_ENCODING => {
                self.seen.hop = true;
                once(&mut self.transfer_encoding, value, "more than one Transfer-Encoding")?;
            }
            EXPECT if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
                return Err(Fault::last(Refusal::ExpectationFailed, "only 100-continue may be expected"));
            }
            CONNECTION | TE | TRAILER | PROXY_AUTHENTICATE | PROXY_AUTHORIZATION => self.seen.hop = true,
            UPGRADE => {
                self.seen.hop = true;
                self.seen.upgrade = true;
            }
            _ => self.take_other(name),
        }
        Ok(())
    }

    fn take_other(&mut self, name: &HeaderName) {
        if ambiguous(name) {
            self.seen.ambiguous = true;
        } else if matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings") {
            self.seen.hop = true;
        } else if super::forwarded::is_forwarding(name) {
            self.seen.forwarding = true;
        }
    }

    /// RFC 9112 §6.1 and §6.3: nothing that two readers could read differently.
    fn judge_framing(&self, version: Version) -> Result<(), Fault> {
        let Some(coding) = self.transfer_encoding else { return Ok(()) };
        if version < Version::HTTP_11 {
            return Err(bad("Transfer-Encoding in HTTP/1.0"));
        }
        if self.seen.content_length.is_some() {
            return Err(bad("both Content-Length and Transfer-Encoding"));
        }
        if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(bad("a Transfer-Encoding other than chunked"));
        }
        Ok(())
    }

    /// Host and the target's or `:authority`'s host must not differ (RFC 9113 §8.3.1; stricter than RFC 9112 §3.2.2,
    /// which lets an absolute target win).
    fn authority(&self, uri: &Uri, version: Version) -> Result<(Option<HeaderValue>, HostText), Fault> {
        let told = uri.authority().map(http::uri::Authority::as_str);
        let value = match (told, self.host) {
            (Some(told), Some(host)) if !host.as_bytes().eq_ignore_ascii_case(told.as_bytes()) => {
                return Err(bad("Host and the target name different hosts"));
            }
            (_, Some(host)) => host.clone(),
            // HTTP/2 and HTTP/3 need no Host beside `:authority`; HTTP/1.1 needs one beside an absolute target too.
            (Some(told), None) if version != Version::HTTP_11 => {
                HeaderValue::from_str(told).map_err(|_| bad("the host is not a name or an address"))?
            }
            (None, None) if version < Version::HTTP_11 => return Ok((None, HostText::Within(0))),
            (_, None) => return Err(bad("no Host")),
        };
        let text = value.to_str().map_err(|_| bad("the host is not a name or an address"))?;
        let host = lb_routing::host::canonical(text).map_err(|_| bad("the host is not a name or an address"))?;
        let host = match host.name {
            Cow::Borrowed(name) => HostText::Within(name.len()),
            Cow::Owned(name) => HostText::Own(name),
        };
        Ok((Some(value), host))
    }
}

/// RFC 9113 §8.2.1 and §8.2.2 (RFC 9114 §4.2): what would change its meaning in HTTP/1 is not valid in a later version.
fn judge_multiplexed(name: &HeaderName, value: &HeaderValue) -> Result<(), Fault> {
    let bytes = value.as_bytes();
    let blank = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    if blank(bytes.first()) || blank(bytes.last()) {
        return Err(bad("a field's value begins or ends with white space"));
    }
    let of_a_connection = match *name {
        CONNECTION | TRANSFER_ENCODING | UPGRADE => true,
        TE => !bytes.eq_ignore_ascii_case(b"trailers"),
        _ => matches!(name.as_str(), "keep-alive" | "proxy-connection"),
    };
    if of_a_connection { Err(bad("a field that is for HTTP/1 connections")) } else { Ok(()) }
}

fn once<'a>(slot: &mut Option<&'a HeaderValue>, value: &'a HeaderValue, detail: &'static str) -> Result<(), Fault> {
    if slot.replace(value).is_some() { Err(bad(detail)) } else { Ok(()) }
}

fn content_length(value: &HeaderValue) -> Result<u64, Fault> {
    let bytes = value.as_bytes();
    let digits = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    let number = if digits { value.to_str().ok().and_then(|t| t.parse().ok()) } else { None };
    number.ok_or(bad("the Content-Length is not a number"))
}

const fn bad(detail: &'static str) -> Fault {
    Fault::last(Refusal::BadRequest, detail)
}

#[cfg(test)]
mod tests;
