//! Static files: what is given, what is not, ranges, validators, ready-made compressed siblings.

use anyhow::{Result, ensure};
use lb_tests::http::client::Client;
use lb_tests::http::proxy::Proxy;
use lb_tests::http::scene::{every, get, listener, route};
use lb_tests::http::{answer::Answer, port};

struct Site {
    proxy: Proxy,
    front: std::net::SocketAddr,
}

impl Site {
    fn new() -> Result<Self> {
        let front = port::free()?;
        let files: [(&str, &[u8]); 9] = [
            ("www/index.html", b"<p>home"),
            ("www/a.txt", b"0123456789"),
            ("www/sub/index.html", b"<p>sub"),
            ("www/empty/x.txt", b"x"),
            ("www/.secret", b"secret"),
            ("www/.git/config", b"secret"),
            ("www/app.js", b"plain js"),
            ("www/app.js.gz", b"gzip js"),
            ("outside.txt", b"outside"),
        ];
        let tables = [
            listener(front, ""),
            route(
                "site",
                "match = { path = \"/s/*\" }\nrewrite = { strip_prefix = \"/s\" }\nfiles = { root = \"www\" }",
            ),
        ];
        let mut proxy = Proxy::prepare("")?;
        for (name, bytes) in files {
            proxy.file(name, bytes)?;
        }
        let www = proxy.dir().join("www");
        std::os::unix::fs::symlink(proxy.dir().join("outside.txt"), www.join("link.txt"))?;
        std::os::unix::fs::symlink(www.join("a.txt"), www.join("inner.txt"))?;
        std::os::unix::fs::symlink("/etc", www.join("etc"))?;
        proxy.write(&tables.concat())?;
        proxy.run()?;
        Ok(Self { proxy, front })
    }
    fn get(&self, path: &str, fields: &str) -> Result<Answer> {
        Client::connect(self.front)?.ask(get(path, fields))
    }
}

#[test]
fn files_are_given_with_type_length_and_validators() -> Result<()> {
    let site = Site::new()?;
    let text = site.get("/s/a.txt", "")?;
    ensure!(
        text.status == 200 && text.text() == "0123456789" && text.field("content-length") == Some("10"),
        "{text:?}"
    );
    ensure!(text.field("content-type").is_some_and(|t| t.starts_with("text/plain")), "{text:?}");
    ensure!(text.field("etag").is_some() && text.field("last-modified").is_some(), "{text:?}");
    ensure!(text.field("accept-ranges") == Some("bytes"), "{text:?}");
    for path in ["/s/", "/s/index.html"] {
        let home = site.get(path, "")?;
        ensure!(
            home.text() == "<p>home" && home.field("content-type").is_some_and(|t| t.starts_with("text/html")),
            "{home:?}"
        );
    }
    let etag = text.field("etag").unwrap_or_default();
    let same = site.get("/s/a.txt", &format!("If-None-Match: {etag}\r\n"))?;
    ensure!(same.status == 304 && same.body.is_empty() && same.field("etag") == Some(etag), "{same:?}");
    let since =
        site.get("/s/a.txt", &format!("If-Modified-Since: {}\r\n", text.field("last-modified").unwrap_or_default()))?;
    ensure!(since.status == 304, "{since:?}");
    let head = Client::connect(site.front)?.ask("HEAD /s/a.txt HTTP/1.1\r\nHost: a.test\r\n\r\n")?;
    ensure!(head.status == 200 && head.field("content-length") == Some("10") && head.body.is_empty(), "{head:?}");
    Ok(())
}

#[test]
fn folders_without_a_slash_are_redirected() -> Result<()> {
    let site = Site::new()?;
    let moved = site.get("/s/sub", "")?;
    ensure!(moved.status == 308 && moved.field("location").is_some_and(|l| l.ends_with("/s/sub/")), "{moved:?}");
    ensure!(site.get("/s/sub/", "")?.text() == "<p>sub", "the folder's index");
    Ok(())
}

#[test]
fn what_is_not_to_be_seen_is_404() -> Result<()> {
    let site = Site::new()?;
    let paths = [
        "/s/.secret",
        "/s/.git/config",
        "/s/link.txt",
        "/s/etc/passwd",
        "/s/missing",
        "/s/empty/",
        "/s/a.txt/",
        "/s/a.txt/x",
        "/s/sub/../.secret",
        "/s/%2esecret",
    ];
    every(paths.map(|p| (p, p)), |path| site.get(path, "")?.is_refusal(404, "not_found"))?;
    let escaped = site.get("/s/sub%2findex.html", "")?;
    ensure!(matches!(escaped.status, 400 | 404), "{escaped:?}");
    for path in ["/s/../outside.txt", "/s/../../etc/passwd", "/s/%2e%2e/outside.txt"] {
        let answer = site.get(path, "")?;
        ensure!(matches!(answer.status, 400 | 404) && !answer.text().contains("outside"), "{path}: {answer:?}");
    }
    ensure!(site.get("/s/a.txt", "")?.status == 200, "nothing is served any more");
    ensure!(site.proxy.pid().is_some(), "the process");
    Ok(())
}

#[test]
fn ranges_are_given_as_asked() -> Result<()> {
    let site = Site::new()?;
    let cases = [
        ("bytes=0-3", 206, "0123", "bytes 0-3/10"),
        ("bytes=5-", 206, "56789", "bytes 5-9/10"),
        ("bytes=-2", 206, "89", "bytes 8-9/10"),
        ("bytes=0-0", 206, "0", "bytes 0-0/10"),
        ("bytes=8-100", 206, "89", "bytes 8-9/10"),
    ];
    every(cases.map(|c| (c.0, c)), |(range, status, body, content)| {
        let answer = site.get("/s/a.txt", &format!("Range: {range}\r\n"))?;
        ensure!(
            answer.status == status && answer.text() == body && answer.field("content-range") == Some(content),
            "{answer:?}"
        );
        Ok(())
    })?;
    let beyond = site.get("/s/a.txt", "Range: bytes=10-\r\n")?;
    beyond.is_refusal(416, "range_not_satisfiable")?;
    ensure!(beyond.field("content-range") == Some("bytes */10"), "{beyond:?}");
    for junk in ["bytes=x", "lines=0-1", "bytes=5-2"] {
        ensure!(site.get("/s/a.txt", &format!("Range: {junk}\r\n"))?.status == 200, "{junk}");
    }
    let old = site.get("/s/a.txt", "Range: bytes=0-3\r\nIf-Range: \"other\"\r\n")?;
    ensure!(old.status == 200 && old.text() == "0123456789", "{old:?}");
    Ok(())
}

#[test]
fn other_methods_are_not_allowed() -> Result<()> {
    let site = Site::new()?;
    for method in ["POST", "PUT", "DELETE"] {
        let answer = Client::connect(site.front)?
            .ask(format!("{method} /s/a.txt HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n"))?;
        answer.is_refusal(405, "method_not_allowed")?;
        let allow = answer.field("allow").unwrap_or_default();
        ensure!(allow.contains("GET") && allow.contains("HEAD"), "{answer:?}");
    }
    Ok(())
}

#[test]
fn compressed_siblings_are_given_to_who_takes_them() -> Result<()> {
    let site = Site::new()?;
    let gzip = site.get("/s/app.js", "Accept-Encoding: gzip, br\r\n")?;
    ensure!(gzip.text() == "gzip js" && gzip.field("content-encoding") == Some("gzip"), "{gzip:?}");
    ensure!(gzip.field("content-type").is_some_and(|t| t.contains("javascript")), "{gzip:?}");
    for fields in ["", "Accept-Encoding: br\r\n", "Accept-Encoding: gzip;q=0\r\n"] {
        let plain = site.get("/s/app.js", fields)?;
        ensure!(plain.text() == "plain js" && plain.field("content-encoding").is_none(), "{fields:?}: {plain:?}");
        ensure!(plain.field("vary").is_some_and(|v| v.eq_ignore_ascii_case("accept-encoding")), "{plain:?}");
        ensure!(plain.field("etag") != gzip.field("etag"), "one ETag for two representations");
    }
    Ok(())
}
