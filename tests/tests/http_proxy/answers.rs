//! Answers that are not a backend's: refusals as documents, error pages, gRPC statuses, splits and mirrors.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::clock;
use lb_tests::http::client::Client;
use lb_tests::http::proxy::Proxy;
use lb_tests::http::scene::{Scene, get, listener, pool, post, route};
use lb_tests::http::{echo, port};

#[test]
fn a_refusal_is_a_problem_document_that_names_no_backend() -> Result<()> {
    let (dead, front) = (port::free()?, port::free()?);
    let tables = [
        listener(front, ""),
        pool("dead", &[dead], ""),
        pool("empty", &[], ""),
        route("dead", "match = { path = \"/dead\" }\npool = \"dead\""),
        route("empty", "match = { path = \"/empty\" }\npool = \"empty\""),
    ];
    let proxy = Proxy::start(&tables.concat())?;
    let ask = |path: &str, fields: &str| Client::connect(front)?.ask(get(path, fields));
    let answer = ask("/dead", "Accept: text/html\r\n")?;
    answer.is_refusal(502, "connect_failed")?;
    let port = dead.port().to_string();
    ensure!(!answer.text().contains(&port) && !format!("{:?}", answer.fields).contains(&port), "{}", answer.text());
    let empty = ask("/empty", "")?;
    empty.is_refusal(503, "no_backend")?;
    ensure!(empty.field("retry-after").is_some_and(|r| r.parse::<u32>().is_ok()), "{:?}", empty.fields);
    ask("/nowhere", "")?.is_refusal(404, "no_route")?;
    // Workers write their lines in no common order.
    let lines = proxy.access_lines(3)?;
    for (path, reason) in [("/dead", "connect_failed"), ("/empty", "no_backend"), ("/nowhere", "no_route")] {
        ensure!(lines.iter().any(|l| l["path"] == path && l["reason"] == reason), "{path}: {lines:?}");
    }
    Ok(())
}

#[test]
fn grpc_hears_refusals_in_its_own_way() -> Result<()> {
    let (dead, front) = (port::free()?, port::free()?);
    let tables = [
        listener(front, ""),
        pool("dead", &[dead], ""),
        route("dead", "match = { path = \"/dead/*\" }\npool = \"dead\""),
    ];
    let _proxy = Proxy::start(&tables.concat())?;
    for (path, code) in [("/dead/Call", "14"), ("/nowhere/Call", "12")] {
        let answer =
            Client::connect(front)?.ask(post(path, "Content-Type: application/grpc\r\nTE: trailers\r\n", ""))?;
        ensure!(answer.status == 200 && answer.field("grpc-status") == Some(code), "{path}: {answer:?}");
        ensure!(answer.field("content-type").is_some_and(|t| t.starts_with("application/grpc")), "{path}: {answer:?}");
        ensure!(answer.field("x-request-id").is_some(), "{path}: {answer:?}");
    }
    Ok(())
}

#[test]
fn error_pages_stand_in_for_refusals_and_backends_errors() -> Result<()> {
    let scene_front = port::free()?;
    let backend = lb_tests::http::backend::Backend::start(|seen| match seen.target.as_str() {
        "/503" => lb_tests::http::backend::Reply::new("503 Busy", "raw"),
        "/500" => lb_tests::http::backend::Reply::new("500 Oops", "raw"),
        _ => lb_tests::http::backend::Reply::ok("fine"),
    })?;
    let tables = [
        listener(scene_front, ""),
        pool("web", &[backend.address], ""),
        pool("empty", &[], ""),
        route("empty", "match = { path = \"/empty\" }\npool = \"empty\"\nerrors = { 503 = \"sorry.html\" }"),
        route("web", "pool = \"web\"\nerrors = { 503 = \"sorry.html\" }"),
    ];
    let _proxy = Proxy::start_with("", &[("sorry.html", b"<h1>sorry</h1>")], &tables.concat())?;
    let ask = |path: &str| Client::connect(scene_front)?.ask(get(path, ""));
    for path in ["/empty", "/503"] {
        let answer = ask(path)?;
        ensure!(answer.status == 503 && answer.text() == "<h1>sorry</h1>", "{path}: {answer:?}");
        ensure!(answer.field("content-type").is_some_and(|t| t.starts_with("text/html")), "{path}: {answer:?}");
        ensure!(answer.field("x-request-id").is_some(), "{path}: {answer:?}");
    }
    ensure!(ask("/500")?.text() == "raw" && ask("/ok")?.text() == "fine", "other statuses are touched");
    Ok(())
}

#[test]
fn shares_of_a_split_hold_within_five_percent() -> Result<()> {
    let (a, b, front) = (echo::named("a")?, echo::named("b")?, port::free()?);
    let tables = [
        listener(front, ""),
        pool("a", &[a.address], ""),
        pool("b", &[b.address], ""),
        route("all", "split = [{ pool = \"a\", weight = 90 }, { pool = \"b\", weight = 10 }]"),
    ];
    let _proxy = Proxy::start(&tables.concat())?;
    // Several connections, so that every worker has some.
    for _ in 0..20 {
        let mut client = Client::connect(front)?;
        for _ in 0..50 {
            ensure!(client.ask(get("/", ""))?.status == 200, "not served");
        }
    }
    ensure!(a.count() + b.count() == 1000, "{} and {}", a.count(), b.count());
    ensure!((50..=150).contains(&b.count()), "10 % of 1,000 came to {}", b.count());
    Ok(())
}

#[test]
fn a_mirror_gets_a_copy_and_answers_nobody() -> Result<()> {
    let (a, front) = (echo::named("a")?, port::free()?);
    let shadow = lb_tests::http::backend::Backend::start(|_| {
        lb_tests::http::backend::Reply::new("500 Oops", "shadow").after(Duration::from_millis(500))
    })?;
    let tables = [
        listener(front, ""),
        pool("a", &[a.address], ""),
        pool("shadow", &[shadow.address], ""),
        route("all", "pool = \"a\"\nmirror = { pool = \"shadow\", percent = 100 }"),
    ];
    let _proxy = Proxy::start(&tables.concat())?;
    let start = clock::now();
    let mut client = Client::connect(front)?;
    for n in 0..10 {
        let answer = client.ask(post(&format!("/m{n}"), "X-A: b\r\n", "hello"))?;
        ensure!(answer.status == 200 && answer.text() == "a", "{answer:?}");
    }
    ensure!(start.elapsed() < Duration::from_secs(3), "the mirror is waited for: {:?}", start.elapsed());
    clock::until("the copies", Duration::from_secs(5), || Ok((shadow.count() == 10).then_some(())))?;
    let seen = shadow.seen();
    ensure!(
        seen.iter().all(|s| s.complete && s.body == b"hello" && s.method == "POST" && s.field("x-a") == Some("b")),
        "{seen:?}"
    );
    ensure!(a.count() == 10, "the backend saw {}", a.count());
    drop(shadow);
    ensure!(client.ask(get("/after", ""))?.text() == "a", "a mirror that is away harms");
    Ok(())
}

#[test]
fn every_answer_has_an_id_of_its_own() -> Result<()> {
    let scene = Scene::echo()?;
    let mut ids: Vec<String> = Vec::new();
    let mut client = scene.client()?;
    for _ in 0..50 {
        ids.push(client.ask(get("/", ""))?.field("x-request-id").unwrap_or_default().to_owned());
    }
    for bytes in
        [get("/a%00", ""), "CONNECT a.test:1 HTTP/1.1\r\nHost: a.test:1\r\n\r\n".to_owned(), "junk\r\n\r\n".to_owned()]
    {
        ids.push(scene.ask(bytes)?.field("x-request-id").unwrap_or_default().to_owned());
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    ensure!(ids.len() == count && !ids.contains(&String::new()), "ids repeat: {ids:?}");
    Ok(())
}
