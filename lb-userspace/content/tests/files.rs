//! Static files from outside: a folder, requests, what comes back.

use std::path::Path;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body_util::BodyExt as _;
use lb_content::{Refused, serve};
use lb_message::Body;

/// Later than any file.
fn later() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)
}

fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
    fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).expect("a value"))).collect()
}

fn site() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(dir.path().join("docs")).expect("a folder");
    for (name, text) in [
        ("index.html", "<p>home"),
        ("docs/index.html", "<p>docs"),
        ("digits.txt", "0123456789"),
        (".secret", "no"),
        ("app.js", "plain"),
        ("app.js.gz", "gzipped"),
        ("app.js.br", "brotlied"),
        ("empty", ""),
        ("a b.txt", "space"),
    ] {
        std::fs::write(dir.path().join(name), text).expect("a file");
    }
    dir
}

async fn get(root: &Path, path: &str, fields: &[(&'static str, &str)]) -> Result<Response<Body>, Refused> {
    serve(root, path, &Method::GET, &map(fields), later()).await
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.expect("a body").to_bytes().to_vec()).expect("text")
}

#[tokio::test]
async fn files_folders_and_what_is_hidden() {
    let dir = site();
    let root = dir.path();
    let home = get(root, "/", &[]).await.expect("home");
    assert_eq!(home.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(home.headers()["content-length"], "7");
    assert!(home.headers()["etag"].to_str().expect("text").starts_with('"'), "settled, so strong");
    assert_eq!(text(home).await, "<p>home");
    assert_eq!(text(get(root, "/docs/", &[]).await.expect("docs")).await, "<p>docs");
    assert_eq!(text(get(root, "/a%20b.txt", &[]).await.expect("a file")).await, "space");
    assert_eq!(text(get(root, "/empty", &[]).await.expect("a file")).await, "");
    let moved = get(root, "/docs", &[]).await.expect("a redirection");
    assert_eq!((moved.status().as_u16(), &moved.headers()["location"]), (308, &HeaderValue::from_static("/docs/")));
    for path in ["/none", "/.secret", "/digits.txt/", "/docs%2findex.html", "/index.html%00", "/docs/none/"] {
        let refused = get(root, path, &[]).await.expect_err(path);
        assert_eq!(refused.refusal.code(), 404, "{path}");
    }
    let refused = serve(root, "/", &Method::POST, &HeaderMap::new(), later()).await.expect_err("POST");
    assert_eq!((refused.refusal.code(), &refused.headers["allow"]), (405, &HeaderValue::from_static("GET, HEAD")));
    let head = serve(root, "/digits.txt", &Method::HEAD, &map(&[("range", "bytes=0-1")]), later()).await.expect("HEAD");
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].as_bytes()), (200, &b"10"[..]));
    assert_eq!(text(head).await, "");
}

#[tokio::test]
async fn conditions_against_the_files_own_fields() {
    let dir = site();
    let root = dir.path();
    let whole = get(root, "/digits.txt", &[]).await.expect("a file");
    let tag = whole.headers()["etag"].to_str().expect("text").to_owned();
    let date = whole.headers()["last-modified"].to_str().expect("text").to_owned();
    for (fields, status) in [
        (vec![("if-none-match", tag.as_str())], 304),
        (vec![("if-modified-since", date.as_str())], 304),
        (vec![("if-match", "\"other\"")], 412),
        (vec![("if-none-match", "\"other\"")], 200),
        (vec![("range", "bytes=1-2"), ("if-range", tag.as_str())], 206),
        (vec![("range", "bytes=1-2"), ("if-range", date.as_str())], 206),
        (vec![("range", "bytes=1-2"), ("if-range", "\"other\"")], 200),
    ] {
        let response = get(root, "/digits.txt", &fields).await.expect("an answer");
        assert_eq!(response.status().as_u16(), status, "{fields:?}");
        if status == 304 {
            assert!(response.headers().contains_key("etag") && !response.headers().contains_key("content-length"));
        }
    }
    // A file written just now may be written again within its date's resolution.
    let young = std::fs::metadata(root.join("digits.txt")).expect("there").modified().expect("a date");
    let young = serve(root, "/digits.txt", &Method::GET, &HeaderMap::new(), young).await.expect("a file");
    assert!(young.headers()["etag"].to_str().expect("text").starts_with("W/"));
}

#[tokio::test]
async fn ranges_one_several_none() {
    let dir = site();
    let root = dir.path();
    let one = get(root, "/digits.txt", &[("range", "bytes=2-4")]).await.expect("a part");
    assert_eq!(one.status().as_u16(), 206);
    assert_eq!(one.headers()["content-range"], "bytes 2-4/10");
    assert_eq!(one.headers()["content-length"], "3");
    assert_eq!(text(one).await, "234");
    let several = get(root, "/digits.txt", &[("range", "bytes=0-1,-2")]).await.expect("parts");
    let media = several.headers()["content-type"].to_str().expect("text").to_owned();
    let boundary = media.strip_prefix("multipart/byteranges; boundary=").expect("multipart").to_owned();
    let length: usize = several.headers()["content-length"].to_str().expect("text").parse().expect("a number");
    let body = text(several).await;
    assert_eq!(body.len(), length);
    let part = |range, bytes| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {range}/10\r\n\r\n{bytes}"
        )
    };
    assert_eq!(body, format!("{}{}\r\n--{boundary}--\r\n", part("0-1", "01"), part("8-9", "89")));
    let none = get(root, "/digits.txt", &[("range", "bytes=10-")]).await.expect_err("beyond");
    assert_eq!((none.refusal.code(), &none.headers["content-range"]), (416, &HeaderValue::from_static("bytes */10")));
}

#[tokio::test]
async fn encoded_siblings_are_sent_to_those_who_take_them() {
    let dir = site();
    let root = dir.path();
    let mut tags = std::collections::BTreeSet::new();
    for (accept, coding, body) in [
        ("gzip, br", Some("br"), "brotlied"),
        ("gzip", Some("gzip"), "gzipped"),
        ("br;q=0.5, gzip;q=0.9, zstd", Some("gzip"), "gzipped"),
        ("zstd", None, "plain"),
        ("", None, "plain"),
    ] {
        let response = get(root, "/app.js", &[("accept-encoding", accept)]).await.expect("a file");
        let headers = response.headers();
        assert_eq!(headers.get("content-encoding").map(|v| v.to_str().expect("text")), coding, "{accept}");
        assert_eq!(headers["content-type"], "text/javascript; charset=utf-8");
        assert_eq!(headers["vary"], "Accept-Encoding");
        tags.insert(headers["etag"].clone().to_str().expect("text").to_owned());
        assert_eq!(text(response).await, body);
    }
    assert_eq!(tags.len(), 3, "each its own tag");
    let alone = get(root, "/digits.txt", &[("accept-encoding", "gzip")]).await.expect("a file");
    assert!(!alone.headers().contains_key("vary"), "there is nothing to choose from");
}

#[tokio::test]
async fn a_large_file_comes_in_pieces_and_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(dir.path().join("large.bin"), &bytes).expect("a file");
    let response = get(dir.path(), "/large.bin", &[]).await.expect("a file");
    let mut body = response.into_body();
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let piece = frame.expect("no error").into_data().expect("data");
        assert!(piece.len() <= 64 << 10);
        all.extend_from_slice(&piece);
    }
    assert!(all == bytes);
}
