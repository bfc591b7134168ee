//! Static files below a root (RFC 9110 §13, §14): what a GET or HEAD of a path answers.

use std::path::Path;
use std::time::SystemTime;

use http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED, LOCATION,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use lb_message::Body;
use lb_model::http::{Coding, Refusal};

use crate::compress::{add_vary, best};
use crate::condition::{Verdict, judge};
use crate::open::{Found, Opened, open};
use crate::range::{Ranges, ranges};
use crate::send;

/// Why nothing is served, and the fields that belong on the problem document (`Allow`, `Content-Range`).
#[derive(Debug)]
pub struct Refused {
    pub refusal: Refusal,
    pub headers: HeaderMap,
}

impl Refused {
    pub(crate) fn new(refusal: Refusal) -> Self {
        Self { refusal, headers: HeaderMap::new() }
    }
}

/// What a folder answers.
const INDEX: &str = "index.html";

/// The file at `path` (normalised, rewritten, percent-encoded, without query) below `root`. A folder without `/` at its
/// end is a redirection to itself with one; the caller adds the query to its Location.
///
/// # Errors
/// `NotFound`, `MethodNotAllowed` (with Allow), `RangeNotSatisfiable` (with Content-Range), `Internal` (the file cannot be
/// read).
pub async fn serve(
    root: &Path,
    path: &str,
    method: &Method,
    headers: &HeaderMap,
    now: SystemTime,
) -> Result<Response<Body>, Refused> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refused = Refused::new(Refusal::MethodNotAllowed);
        refused.headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Err(refused);
    }
    let mut name = file_name(path).ok_or_else(|| Refused::new(Refusal::NotFound))?;
    let folder = name.is_empty() || name.ends_with('/');
    if folder {
        name.push_str(INDEX);
    }
    let accepted = accepted(headers);
    let job = (root.to_owned(), name.clone());
    let found = tokio::task::spawn_blocking(move || open(&job.0, &job.1, &accepted)).await;
    match found {
        Ok(Ok(Found::File(file))) => answer(&name, file, method, headers, now),
        Ok(Ok(Found::Folder)) if !folder => Ok(moved(path)),
        Ok(Ok(Found::Folder | Found::Nothing)) => Err(Refused::new(Refusal::NotFound)),
        Ok(Err(_)) | Err(_) => Err(Refused::new(Refusal::Internal)),
    }
}

/// A path's name below the root, decoded; empty or with `/` at the end: a folder. `None`: a name that is never served:
/// with an empty or hidden segment (`.well-known` is the exception, RFC 8615), an escaped slash, a backslash or NUL.
fn file_name(path: &str) -> Option<String> {
    let path = path.strip_prefix('/')?;
    let lower = path.to_ascii_lowercase();
    if ["%2f", "%5c", "%00"].iter().any(|escape| lower.contains(escape)) {
        return None;
    }
    let name = percent_encoding::percent_decode_str(path).decode_utf8().ok()?.into_owned();
    let bare = name.strip_suffix('/').unwrap_or(&name);
    let hidden = |segment: &str| segment.is_empty() || (segment.starts_with('.') && segment != ".well-known");
    if (!name.is_empty() && bare.split('/').any(hidden)) || name.contains(['\0', '\\']) {
        return None;
    }
    Some(name)
}

/// Codings whose siblings are worth looking for, in order of preference.
fn accepted(headers: &HeaderMap) -> Vec<Coding> {
    let mut left = Coding::ALL.to_vec();
    let mut order = Vec::new();
    while let Some(coding) = best(&left, headers) {
        left.retain(|c| *c != coding);
        order.push(coding);
    }
    order
}

fn moved(path: &str) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    // One slash only: `//host` would lead elsewhere.
    let target = format!("/{}/", path.trim_start_matches('/'));
    if let Ok(target) = HeaderValue::from_str(&target) {
        response.headers_mut().insert(LOCATION, target);
    }
    response
}

fn answer(
    name: &str,
    file: Opened,
    method: &Method,
    request: &HeaderMap,
    now: SystemTime,
) -> Result<Response<Body>, Refused> {
    let mut fields = fields(name, &file, now);
    match judge(request, &fields, file.modified) {
        Verdict::Send => {}
        Verdict::NotModified => return Ok(bare(StatusCode::NOT_MODIFIED, fields)),
        Verdict::Failed => return Ok(bare(StatusCode::PRECONDITION_FAILED, HeaderMap::new())),
    }
    let length = file.length;
    // RFC 9110 §14.2: ranges are defined for GET.
    let asked = if *method == Method::GET { ranges(request, &fields, length) } else { Ranges::Whole };
    let (status, body) = match asked {
        Ranges::Whole => (StatusCode::OK, send::part(file, 0..length)),
        Ranges::Unsatisfiable => {
            let mut refused = Refused::new(Refusal::RangeNotSatisfiable);
            refused.headers.insert(CONTENT_RANGE, text(&format!("bytes */{length}")));
            return Err(refused);
        }
        Ranges::One(range) => {
            fields.insert(CONTENT_RANGE, text(&format!("bytes {}-{}/{length}", range.start, range.end - 1)));
            fields.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
            (StatusCode::PARTIAL_CONTENT, send::part(file, range))
        }
        Ranges::Several(parts) => {
            let media = fields.get(CONTENT_TYPE).cloned();
            let (body, boundary, total) = send::parts(file, parts, media.as_ref());
            fields.insert(CONTENT_TYPE, text(&format!("multipart/byteranges; boundary={boundary}")));
            fields.insert(CONTENT_LENGTH, HeaderValue::from(total));
            (StatusCode::PARTIAL_CONTENT, body)
        }
    };
    let mut response = Response::new(if *method == Method::HEAD { Body::Empty } else { body });
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    Ok(response)
}

/// Of numbers and fixed words: always a field value.
fn text(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn bare(status: StatusCode, mut fields: HeaderMap) -> Response<Body> {
    for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, ACCEPT_RANGES] {
        fields.remove(name);
    }
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}

fn fields(name: &str, file: &Opened, now: SystemTime) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(10);
    let media = mime_guess::from_path(name).first_or_octet_stream();
    let charset = media.type_() == "text" || matches!(media.subtype().as_str(), "javascript" | "json" | "xml");
    let media =
        if charset { format!("{}; charset=utf-8", media.essence_str()) } else { media.essence_str().to_owned() };
    fields.insert(CONTENT_TYPE, text(&media));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(file.length));
    fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(LAST_MODIFIED, text(&httpdate::fmt_http_date(file.modified.min(now))));
    fields.insert(ETAG, text(&file.tag(now)));
    if let Some(coding) = file.coding {
        fields.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    }
    if file.has_variants {
        add_vary(&mut fields);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_served_and_names_that_never_are() {
        for (path, name) in [
            ("/", Some("")),
            ("/a/b.txt", Some("a/b.txt")),
            ("/a/", Some("a/")),
            ("/a%20b", Some("a b")),
            ("/%C3%A4", Some("ä")),
            ("/.well-known/x", Some(".well-known/x")),
            ("/.env", None),
            ("/a/.git/config", None),
            ("/a/../b", None),
            ("/%2e%2e/b", None),
            ("/a%2fb", None),
            ("/a%5Cb", None),
            ("/a\\b", None),
            ("/a%00", None),
            ("/a//b", None),
            ("//", None),
            ("/%ff", None),
            ("a", None),
        ] {
            assert_eq!(file_name(path).as_deref(), name, "{path}");
        }
    }
}
