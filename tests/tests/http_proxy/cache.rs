//! The cache as users see it: hits, validators, collapsed requests, purging, counts, a reload.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::http::answer::Answer;
use lb_tests::http::backend::{Backend, Reply, Seen};
use lb_tests::http::client::Client;
use lb_tests::http::port;
use lb_tests::http::proxy::Proxy;
use lb_tests::http::scene::{get, listener, pool, route};

struct Caching {
    proxy: Proxy,
    backend: Backend,
    front: std::net::SocketAddr,
    text: String,
}

fn caching(cache: &str, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Result<Caching> {
    let (backend, front) = (Backend::start(handler)?, port::free()?);
    let all = route("all", &format!("pool = \"web\"\ncache = {{ {cache} }}"));
    let text = [listener(front, ""), pool("web", &[backend.address], ""), all].concat();
    Ok(Caching { proxy: Proxy::start(&text)?, backend, front, text })
}

impl Caching {
    fn get(&self, path: &str, fields: &str) -> Result<Answer> {
        Client::connect(self.front)?.ask(get(path, fields))
    }
}

fn numbered(head: &'static str) -> impl Fn(&Seen) -> Reply + Send + Sync + 'static {
    let turn = AtomicUsize::new(0);
    move |_| Reply::new(head, turn.fetch_add(1, Ordering::Relaxed).to_string())
}

fn status(answer: &Answer) -> &str {
    answer.field("cache-status").unwrap_or_default()
}

const TAGGED: &str = "200 OK\r\nCache-Control: max-age=60\r\nCache-Tag: red, blue\r\nContent-Type: text/plain";

#[test]
fn purging_by_url_prefix_and_tag_says_how_many() -> Result<()> {
    let caching = caching("", numbered(TAGGED))?;
    for path in ["/a", "/a/b", "/c"] {
        ensure!(status(&caching.get(path, "")?).ends_with("miss; stored"), "{path} is not stored");
        ensure!(status(&caching.get(path, "")?) == "lb; hit", "{path} is no hit");
    }
    let purge = |args: &[&str]| caching.proxy.json(&[&["cache", "purge"], args].concat());
    let url = |path: &str| format!("http://a.test{path}");
    ensure!(purge(&["--key", &url("/c")])?["purged"] == 1, "by URL");
    ensure!(
        status(&caching.get("/c", "")?) != "lb; hit" && status(&caching.get("/a", "")?) == "lb; hit",
        "the wrong one"
    );
    ensure!(purge(&["--prefix", &url("/a")])?["purged"] == 2, "by prefix");
    ensure!(status(&caching.get("/a/b", "")?) != "lb; hit", "still there");
    ensure!(purge(&["--tag", "green"])?["purged"] == 0, "a tag that nobody has");
    ensure!(purge(&["--tag", "blue"])?["purged"] == 2, "by tag");
    let without = caching.proxy.cli(&["cache", "purge"])?;
    ensure!(without.status.code() == Some(2), "without a choice: {}", without.status);
    Ok(())
}

#[test]
fn counts_are_kept_and_a_reload_keeps_all() -> Result<()> {
    let caching = caching("", numbered(TAGGED))?;
    caching.get("/a", "")?;
    caching.get("/a", "")?;
    caching.proxy.reload(&caching.text.replace("pool = \"web\"", "max_body = \"1MiB\"\npool = \"web\""))?;
    let kept = caching.get("/a", "")?;
    ensure!(status(&kept) == "lb; hit" && kept.text() == "0", "a reload lost it: {kept:?}");
    let stats = caching.proxy.json(&["cache", "stats"])?;
    ensure!(stats["hits"] == 2 && stats["misses"] == 1 && stats["stored"] == 1 && stats["entries"] == 1, "{stats}");
    ensure!(stats["bytes"].as_u64().is_some_and(|b| b > 0) && stats["evicted"] == 0, "{stats}");
    let lines = caching.proxy.access_lines(3)?;
    // Workers write their lines in no common order.
    let mut words: Vec<&str> = lines.iter().filter_map(|l| l["cache"].as_str()).collect();
    words.sort_unstable();
    ensure!(words == ["hit", "hit", "miss"], "{words:?}");
    Ok(())
}

#[test]
fn an_old_answer_is_validated_and_a_client_may_validate() -> Result<()> {
    let caching = caching("", |seen| {
        let head = "Cache-Control: max-age=1\r\nETag: \"v1\"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT";
        if seen.field("if-none-match") == Some("\"v1\"") {
            Reply::raw(format!("HTTP/1.1 304 Not Modified\r\n{head}\r\n\r\n"))
        } else {
            Reply::new(&format!("200 OK\r\n{head}"), "body")
        }
    })?;
    ensure!(caching.get("/", "")?.text() == "body", "the first");
    let same = caching.get("/", "If-None-Match: \"v1\"\r\n")?;
    ensure!(same.status == 304 && same.body.is_empty() && caching.backend.count() == 1, "{same:?}");
    lb_tests::clock::pass(Duration::from_millis(2100));
    let validated = caching.get("/", "")?;
    ensure!(validated.status == 200 && validated.text() == "body", "{validated:?}");
    ensure!(
        caching.backend.count() == 2 && caching.backend.seen()[1].field("if-none-match").is_some(),
        "{:?}",
        caching.backend.seen()
    );
    ensure!(status(&caching.get("/", "")?) == "lb; hit" && caching.backend.count() == 2, "not fresh again");
    let lines = caching.proxy.access_lines(4)?;
    ensure!(lines.iter().any(|l| l["cache"] == "revalidated"), "{lines:?}");
    Ok(())
}

#[test]
fn many_clients_at_once_ask_the_backend_once() -> Result<()> {
    let caching = Arc::new(caching("", |_| {
        Reply::new("200 OK\r\nCache-Control: max-age=60", "one").after(Duration::from_millis(500))
    })?);
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let caching = Arc::clone(&caching);
            std::thread::spawn(move || caching.get("/", ""))
        })
        .collect();
    for thread in asked {
        let answer = thread.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        ensure!(answer.status == 200 && answer.text() == "one", "{answer:?}");
    }
    ensure!(caching.backend.count() == 1, "the backend was asked {} times", caching.backend.count());
    Ok(())
}

#[test]
fn waiting_together_shares_nothing_private() -> Result<()> {
    let caching = Arc::new(caching("", |seen| {
        let who = seen.field("x-who").unwrap_or_default().to_owned();
        Reply::new("200 OK\r\nCache-Control: private, max-age=60", who).after(Duration::from_millis(300))
    })?);
    let asked: Vec<_> = (0..8)
        .map(|n| {
            let caching = Arc::clone(&caching);
            std::thread::spawn(move || {
                Ok::<_, anyhow::Error>((n.to_string(), caching.get("/", &format!("X-Who: {n}\r\n"))?.text()))
            })
        })
        .collect();
    for thread in asked {
        let (mine, got) = thread.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        ensure!(mine == got, "{mine} got the answer for {got}");
    }
    Ok(())
}

#[test]
fn long_answers_are_passed_on_and_not_kept() -> Result<()> {
    let caching = caching("max_size = \"1MiB\", max_object = \"10KiB\"", |seen| {
        let size = if seen.target == "/big" { 100_000 } else { 5000 };
        Reply::new("200 OK\r\nCache-Control: max-age=60", vec![b'x'; size])
    })?;
    for _ in 0..2 {
        let big = caching.get("/big", "")?;
        ensure!(big.body.len() == 100_000 && status(&big) != "lb; hit", "{} bytes, {:?}", big.body.len(), big.fields);
    }
    for n in 0..400 {
        ensure!(caching.get(&format!("/{n}"), "")?.body.len() == 5000, "{n}");
    }
    let stats = caching.proxy.json(&["cache", "stats"])?;
    ensure!(stats["bytes"].as_u64().is_some_and(|b| b <= 1 << 20), "over its size: {stats}");
    ensure!(stats["evicted"].as_u64().is_some_and(|e| e > 0), "nothing evicted: {stats}");
    Ok(())
}

#[test]
fn parts_of_a_kept_answer_are_given_and_parts_are_not_kept_as_wholes() -> Result<()> {
    let caching = caching("", |seen| {
        if seen.field("range").is_some() {
            Reply::new("206 Partial Content\r\nCache-Control: max-age=60\r\nContent-Range: bytes 0-1/10", "01")
        } else {
            Reply::new("200 OK\r\nCache-Control: max-age=60\r\nETag: \"v\"", "0123456789")
        }
    })?;
    let part = caching.get("/", "Range: bytes=0-1\r\n")?;
    ensure!(part.body == b"01" && part.status == 206, "{part:?}");
    let whole = caching.get("/", "")?;
    ensure!(whole.status == 200 && whole.text() == "0123456789", "a part as the whole: {whole:?}");
    let again = caching.get("/", "Range: bytes=2-4\r\n")?;
    ensure!(
        matches!((again.status, again.text().as_str()), (206, "234") | (206, "01") | (200, "0123456789")),
        "{again:?}"
    );
    Ok(())
}
