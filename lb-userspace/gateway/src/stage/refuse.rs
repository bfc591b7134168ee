//! Answers that are ours because something was refused or failed, and the pages a route has for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, LAST_MODIFIED, TRAILER,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use lb_message::{Body, Problem};
use lb_model::http::Refusal;

/// A page is held in memory; larger files are a mistake.
const LARGEST_PAGE: u64 = 4 << 20;

/// A route's `errors`, read. They stand for our refusals and for backends' answers of the same status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    pages: Vec<(u16, Page)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Page {
    content_type: HeaderValue,
    text: Bytes,
}

impl Pages {
    /// Reads the files; the content type is told by the name's extension.
    ///
    /// # Errors
    /// Which file cannot be read, and why.
    pub fn load(files: &BTreeMap<u16, PathBuf>) -> Result<Self, String> {
        let read = |(status, path): (&u16, &PathBuf)| Ok((*status, Page::load(path)?));
        Ok(Self { pages: files.iter().map(read).collect::<Result<_, String>>()? })
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    fn get(&self, status: StatusCode) -> Option<&Page> {
        self.pages.iter().find(|(s, _)| *s == status.as_u16()).map(|(_, page)| page)
    }
}

impl Page {
    fn load(path: &Path) -> Result<Self, String> {
        let fault = |why: &dyn std::fmt::Display| format!("error page {}: {why}", path.display());
        let length = std::fs::metadata(path).map_err(|e| fault(&e))?.len();
        if length > LARGEST_PAGE {
            return Err(fault(&format_args!("is larger than {LARGEST_PAGE} bytes")));
        }
        let text = std::fs::read(path).map_err(|e| fault(&e))?;
        let mime = mime_guess::from_path(path).first_or(mime_guess::mime::TEXT_HTML);
        let charset = if mime.type_() == "text" { "; charset=utf-8" } else { "" };
        let content_type = HeaderValue::try_from(format!("{}{charset}", mime.essence_str())).map_err(|e| fault(&e))?;
        Ok(Self { content_type, text: text.into() })
    }

    fn put(&self, response: &mut Response<Body>) {
        response.headers_mut().insert(CONTENT_TYPE, self.content_type.clone());
        *response.body_mut() = Body::full(self.text.clone());
    }
}

/// What is refused, and to whom.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    pub refusal: Refusal,
    pub detail: &'a str,
    pub request_id: &'a HeaderValue,
    /// Seconds. `None`: 1 for 503.
    pub retry_after: Option<u32>,
    /// See [`is_grpc`].
    pub grpc: bool,
    /// The connection ends after it; for HTTP/1 only.
    pub close: bool,
    pub pages: Option<&'a Pages>,
}

/// The response. What follows for every response: [`super::respond::fit`] and [`super::respond::Face::put`].
#[must_use]
pub fn refuse(refused: &Refused<'_>) -> Response<Body> {
    let mut response = lb_message::problem(&Problem {
        refusal: refused.refusal,
        detail: refused.detail,
        request_id: refused.request_id.to_str().unwrap_or_default(),
        retry_after: refused.retry_after.or((refused.refusal.code() == 503).then_some(1)),
        grpc: refused.grpc,
    });
    if let Some(pages) = refused.pages.filter(|_| !refused.grpc)
        && let Some(page) = pages.get(response.status())
    {
        page.put(&mut response);
    }
    if refused.refusal == Refusal::MethodNotAllowed && !refused.grpc {
        let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        response.headers_mut().insert(ALLOW, allowed);
    }
    if refused.close {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Puts a route's page in the place of a backend's answer of that status (not for gRPC). `true`: it did, and the
/// backend's body is gone.
pub fn replace(response: &mut Response<Body>, pages: &Pages) -> bool {
    let Some(page) = pages.get(response.status()) else { return false };
    for name in OF_CONTENT {
        response.headers_mut().remove(name);
    }
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    page.put(response);
    true
}

/// Fields that describe the content that was replaced.
const OF_CONTENT: [HeaderName; 8] =
    [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_RANGE, ACCEPT_RANGES, ETAG, LAST_MODIFIED, TRAILER];

/// Is the request gRPC's, by its content type: `application/grpc`, `application/grpc+proto` (not gRPC-Web, which is
/// carried in ordinary answers).
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let Some(value) = headers.get(CONTENT_TYPE) else { return false };
    let (start, rest) = value.as_bytes().split_at(GRPC.len().min(value.len()));
    start.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    static ID: HeaderValue = HeaderValue::from_static("id-1");

    fn refused(refusal: Refusal) -> Refused<'static> {
        Refused { refusal, detail: "why", request_id: &ID, retry_after: None, grpc: false, close: false, pages: None }
    }

    fn text(response: Response<Body>) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(response.into_body().collect()).expect("a body").to_bytes().to_vec()
    }

    fn pages() -> Pages {
        let folder =
            std::env::temp_dir().join(format!("lb-pages-{}-{:?}", std::process::id(), std::thread::current().id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("sorry.html"), "<p>sorry").expect("a file");
        std::fs::write(folder.join("sorry.json"), "{}").expect("a file");
        let files = BTreeMap::from([(503, folder.join("sorry.html")), (404, folder.join("sorry.json"))]);
        let pages = Pages::load(&files).expect("pages");
        std::fs::remove_dir_all(&folder).expect("removed");
        pages
    }

    #[test]
    fn a_problem_document() {
        let response = refuse(&refused(Refusal::NoRoute));
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert!(!response.headers().contains_key("retry-after"));
        assert!(!response.headers().contains_key(CONNECTION));
        let document: serde_json::Value = serde_json::from_slice(&text(response)).expect("JSON");
        assert_eq!(document["type"], "urn:lb:no_route");
        assert_eq!(document["request_id"], "id-1");
        assert_eq!(document["detail"], "why");
    }

    #[test]
    fn what_goes_with_it() {
        assert_eq!(refuse(&refused(Refusal::NoBackend)).headers()["retry-after"], "1");
        assert_eq!(
            refuse(&Refused { retry_after: Some(7), ..refused(Refusal::QueueFull) }).headers()["retry-after"],
            "7"
        );
        assert_eq!(refuse(&Refused { close: true, ..refused(Refusal::BadRequest) }).headers()[CONNECTION], "close");
        assert!(refuse(&refused(Refusal::MethodNotAllowed)).headers().contains_key(ALLOW));
        let grpc = refuse(&Refused { grpc: true, ..refused(Refusal::NoBackend) });
        assert_eq!((grpc.status(), &grpc.headers()["grpc-status"]), (StatusCode::OK, &HeaderValue::from(14)));
    }

    #[test]
    fn pages_stand_for_refusals() {
        let pages = pages();
        let with = |refusal| refuse(&Refused { pages: Some(&pages), ..refused(refusal) });
        let response = with(Refusal::NoBackend);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(text(response), b"<p>sorry");
        assert_eq!(with(Refusal::NoRoute).headers()[CONTENT_TYPE], "application/json");
        assert_eq!(with(Refusal::ConnectFailed).headers()[CONTENT_TYPE], "application/problem+json");
        let grpc = refuse(&Refused { grpc: true, pages: Some(&pages), ..refused(Refusal::NoBackend) });
        assert_eq!(grpc.headers()[CONTENT_TYPE], "application/grpc");
    }

    #[test]
    fn pages_stand_for_backends_answers() {
        let answer = |status: u16| {
            Response::builder()
                .status(status)
                .header(CONTENT_LENGTH, "5")
                .header(CONTENT_ENCODING, "gzip")
                .header(ETAG, "\"x\"")
                .header("x-other", "stays")
                .body(Body::full("their"))
                .expect("a response")
        };
        let pages = pages();
        let mut response = answer(503);
        assert!(replace(&mut response, &pages));
        assert!(OF_CONTENT.iter().all(|n| !response.headers().contains_key(n)));
        assert_eq!(response.headers()["x-other"], "stays");
        assert_eq!(text(response), b"<p>sorry");
        let mut response = answer(500);
        assert!(!replace(&mut response, &pages));
        assert_eq!(response.headers()[CONTENT_LENGTH], "5");
    }

    #[test]
    fn a_page_that_cannot_be_read_is_named() {
        let fault = Pages::load(&BTreeMap::from([(503, PathBuf::from("/nowhere/sorry.html"))])).expect_err("no file");
        assert!(fault.contains("/nowhere/sorry.html"), "{fault}");
    }

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for (value, want) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC; a=b", true),
            ("application/grpc-web", false),
            ("application/grp", false),
            ("text/plain", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(is_grpc(&headers), want, "{value}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
