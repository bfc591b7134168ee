//! Row 17: 1xx responses, and bodies that wait to be asked for.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::http::backend::Reply;
use lb_tests::http::echo;
use lb_tests::http::scene::{Scene, get, route};

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn row_17_early_hints_are_passed_on() -> Result<()> {
    let scene = Scene::answering(|_| Reply::raw(HINTS).and(Duration::from_millis(300), OK))?;
    let mut client = scene.client()?;
    client.send(get("/", ""))?;
    let answer = client.answer(false)?;
    ensure!(answer.status == 200 && answer.body == b"hi", "{answer:?}");
    ensure!(answer.interim.len() == 1 && answer.interim[0].status == 103, "the client got {:?}", answer.interim);
    ensure!(answer.interim[0].field("link") == Some("</a.css>; rel=preload"), "{:?}", answer.interim);
    let next = client.ask(get("/again", ""))?;
    ensure!(next.status == 200, "the connection is of no use afterwards: {next:?}");
    Ok(())
}

#[test]
fn row_17_http_1_0_gets_no_1xx() -> Result<()> {
    let scene = Scene::answering(|_| Reply::raw([HINTS, "HTTP/1.1 102 Processing\r\n\r\n", OK].concat()))?;
    let mut client = scene.client()?;
    let answer = client.ask("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")?;
    ensure!(answer.interim.is_empty() && answer.status == 200 && answer.body == b"hi", "{answer:?}");
    Ok(())
}

#[test]
fn row_17_a_body_that_waits_is_asked_for_once_it_is_wanted() -> Result<()> {
    let scene = Scene::echo()?;
    let mut client = scene.client()?;
    client.send("POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")?;
    let first = client.head()?;
    ensure!(first.status == 100, "{first:?}");
    client.send("hello")?;
    let answer = client.answer(false)?;
    ensure!(answer.status == 200 && answer.json()["length"] == 5, "{answer:?}");
    ensure!(scene.backend.only()?.body == b"hello", "the backend saw {:?}", scene.backend.seen());
    Ok(())
}

#[test]
fn row_17_a_refused_request_is_never_asked_for_its_body() -> Result<()> {
    let tables = [
        route("gone", "match = { path = \"/no\" }\nrespond = { status = 403 }"),
        route("all", "match = { path = \"/p/*\" }\npool = \"web\"\nmax_body = \"1KiB\""),
    ];
    let scene = Scene::routes("", &tables.concat(), echo::reply)?;
    for (path, length, status) in [("/nowhere", 5, 404), ("/no", 5, 403), ("/p/x", 5000, 413)] {
        let mut client = scene.client()?;
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n");
        let answer = client.ask(head)?;
        ensure!(answer.interim.is_empty(), "{path}: 100 before {}", answer.status);
        ensure!(answer.status == status, "{path}: {}", answer.status);
    }
    ensure!(scene.backend.count() == 0, "the backend saw {:?}", scene.backend.seen());
    ensure!(scene.get("/p/y")?.status == 200, "a good request is not served");
    Ok(())
}

#[test]
fn row_17_an_unknown_expectation_is_not_met() -> Result<()> {
    let scene = Scene::echo()?;
    let answer = scene.ask(get("/", "Expect: something\r\n"))?;
    ensure!(matches!(answer.status, 200 | 417), "status {}", answer.status);
    ensure!((answer.status == 200) == (scene.backend.count() == 1), "{} and {}", answer.status, scene.backend.count());
    Ok(())
}

#[test]
fn row_17_a_backends_unasked_100_is_no_answer() -> Result<()> {
    let scene = Scene::answering(|_| Reply::raw(["HTTP/1.1 100 Continue\r\n\r\n", OK].concat()))?;
    let mut client = scene.client()?;
    let answer = client.ask(get("/", ""))?;
    ensure!(answer.status == 200 && answer.body == b"hi", "{answer:?}");
    ensure!(client.ask(get("/2", ""))?.status == 200, "the connection is of no use afterwards");
    Ok(())
}
