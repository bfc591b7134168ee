//! Rows 14 and 15: one cached answer is for one request, and never for somebody else.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use lb_tests::http::backend::{Backend, Reply, Seen};
use lb_tests::http::client::Client;
use lb_tests::http::port;
use lb_tests::http::proxy::Proxy;
use lb_tests::http::scene::{Scene, every, get, listener, pool, route};
use lb_tests::http::tls::Authority;

/// Each answer has its number in the body.
fn numbered(head: &str) -> impl Fn(&Seen) -> Reply + Send + Sync + 'static {
    let (turn, head) = (AtomicUsize::new(0), head.to_owned());
    move |_| Reply::new(&head, turn.fetch_add(1, Ordering::Relaxed).to_string())
}

fn caching(head: &str) -> Result<Scene> {
    Scene::with("", "cache = { max_size = \"1MiB\" }", numbered(head))
}

const FRESH: &str = "200 OK\r\nCache-Control: max-age=60";

#[test]
fn row_14_the_same_request_is_a_hit_and_another_is_not() -> Result<()> {
    let scene = caching(FRESH)?;
    let first = scene.get("/a?x=1")?;
    let status = first.field("cache-status").unwrap_or_default();
    ensure!(first.body == b"0" && status.starts_with("lb; fwd=") && status.ends_with("miss; stored"), "{first:?}");
    let hit = scene.get("/a?x=1")?;
    ensure!(hit.body == b"0" && hit.field("cache-status") == Some("lb; hit"), "{hit:?}");
    ensure!(hit.field("age").is_some_and(|a| a.parse::<u32>().is_ok()), "{hit:?}");
    every(
        [
            ("path", get("/b?x=1", "")),
            ("query", get("/a?x=2", "")),
            ("no query", get("/a", "")),
            ("case of the path", get("/A?x=1", "")),
            ("host", "GET /a?x=1 HTTP/1.1\r\nHost: b.test\r\n\r\n".to_owned()),
            ("port", "GET /a?x=1 HTTP/1.1\r\nHost: a.test:81\r\n\r\n".to_owned()),
            ("method", "POST /a?x=1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ],
        |bytes| {
            let answer = scene.ask(bytes)?;
            ensure!(answer.status == 200 && answer.body != b"0", "the first request's answer: {answer:?}");
            Ok(())
        },
    )
}

#[test]
fn row_14_the_scheme_is_part_of_the_key() -> Result<()> {
    let authority = Authority::new()?;
    let pair = authority.server(&["a.test"])?;
    let (backend, clear, secure) = (Backend::start(numbered(FRESH))?, port::free()?, port::free()?);
    let tls = format!("[[listener]]\nname = \"tls\"\nlisten = \"{secure}\"\n");
    let text = [
        &listener(clear, ""),
        &tls,
        "[[listener.certificate]]\ncert = \"a.pem\"\nkey = \"a.key\"\n",
        &pool("web", &[backend.address], ""),
        &route("all", "pool = \"web\"\ncache = {}"),
    ];
    let files = [("a.pem", pair.cert.as_bytes()), ("a.key", pair.key.as_bytes())];
    let _proxy = Proxy::start_with("", &files, &text.concat())?;
    let config = authority.trusting(&["http/1.1"], None)?;
    let plain = || Client::connect(clear)?.ask(get("/", ""));
    let over_tls = || Client::tls(secure, "a.test", &config)?.ask(get("/", ""));
    ensure!(plain()?.body == b"0" && plain()?.body == b"0", "not kept");
    ensure!(over_tls()?.body == b"1" && over_tls()?.body == b"1", "one answer for http and https");
    Ok(())
}

#[test]
fn row_14_spellings_of_one_path_share_an_answer() -> Result<()> {
    let scene = caching(FRESH)?;
    ensure!(scene.get("/~a")?.body == b"0", "the first");
    for path in ["/%7ea", "/%7Ea", "/./~a", "/b/../~a"] {
        let answer = scene.get(path)?;
        ensure!(answer.body == b"0" && answer.field("cache-status") == Some("lb; hit"), "{path}: {answer:?}");
    }
    let head = scene.ask("HEAD /~a HTTP/1.1\r\nHost: A.TEST\r\n\r\n")?;
    ensure!(head.status == 200 && head.field("cache-status") == Some("lb; hit"), "{head:?}");
    Ok(())
}

#[test]
fn row_14_vary_tells_answers_apart() -> Result<()> {
    let scene = caching(&format!("{FRESH}\r\nVary: Accept-Language"))?;
    let ask = |language: &str| {
        Ok::<_, anyhow::Error>(scene.ask(get("/", &format!("Accept-Language: {language}\r\n")))?.text())
    };
    let (de, en) = (ask("de")?, ask("en")?);
    ensure!(de != en, "one answer for two languages");
    ensure!(ask("de")? == de && ask("en")? == en, "the variants are not kept");
    let any = caching(&format!("{FRESH}\r\nVary: *"))?;
    ensure!(any.get("/")?.body != any.get("/")?.body, "Vary: * was stored");
    Ok(())
}

#[test]
fn row_14_a_query_is_its_body_too() -> Result<()> {
    let scene = caching(FRESH)?;
    let ask = |body: &str| {
        let length = body.len();
        Ok::<_, anyhow::Error>(
            scene.ask(format!("QUERY /q HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n{body}"))?.text(),
        )
    };
    let (one, two) = (ask("one")?, ask("two")?);
    ensure!(one != two, "two questions got one answer");
    let again = ask("one")?;
    ensure!(again != two, "a question got another's answer");
    ensure!(scene.get("/q")?.text() != one, "GET got the answer of QUERY");
    Ok(())
}

#[test]
fn row_15_what_is_private_is_not_shared() -> Result<()> {
    let cases = [
        ("Authorization", FRESH, "Authorization: Basic abc\r\n"),
        ("private", "200 OK\r\nCache-Control: private, max-age=60", ""),
        ("no-store", "200 OK\r\nCache-Control: no-store, max-age=60", ""),
        ("Set-Cookie", "200 OK\r\nCache-Control: max-age=60\r\nSet-Cookie: a=b", ""),
        ("no freshness", "200 OK\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT", ""),
        ("no-store asked for", FRESH, "Cache-Control: no-store\r\n"),
        ("must-understand of an unknown status", "299 Odd\r\nCache-Control: max-age=60, must-understand", ""),
        ("expired", "200 OK\r\nExpires: 0", ""),
    ];
    every(cases.map(|(name, head, fields)| (name, (head, fields))), |(head, fields)| {
        let scene = caching(head)?;
        let (first, second) = (scene.ask(get("/", fields))?, scene.get("/")?);
        ensure!(first.body == b"0" && second.body == b"1", "shared: {second:?}");
        ensure!(second.field("cache-status").is_none_or(|s| s != "lb; hit"), "{second:?}");
        Ok(())
    })
}

#[test]
fn row_15_an_authenticated_answer_is_stored_if_it_says_so() -> Result<()> {
    for directive in ["public, max-age=60", "s-maxage=60", "max-age=60, must-revalidate"] {
        let scene = caching(&format!("200 OK\r\nCache-Control: {directive}"))?;
        ensure!(scene.ask(get("/", "Authorization: Basic abc\r\n"))?.body == b"0", "{directive}");
        let second = scene.get("/")?;
        ensure!(second.body == b"0" && second.field("cache-status") == Some("lb; hit"), "{directive}: {second:?}");
    }
    Ok(())
}

#[test]
fn row_15_unsafe_methods_make_an_answer_stale() -> Result<()> {
    let scene = caching(FRESH)?;
    ensure!(scene.get("/")?.body == b"0" && scene.get("/")?.body == b"0", "not stored");
    ensure!(scene.ask("DELETE / HTTP/1.1\r\nHost: a.test\r\n\r\n")?.status == 200, "DELETE");
    ensure!(scene.get("/")?.body != b"0", "an answer from before DELETE (9111 §4.4)");
    Ok(())
}
