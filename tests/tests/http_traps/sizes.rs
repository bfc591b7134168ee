//! Row 9: requests that are too large, each with its own status and none of it at a backend.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::http::echo;
use lb_tests::http::scene::{Scene, get, post};

const SMALL: &str = "limits = { header = \"4KiB\", fields = 20, uri = \"1KiB\" }";

#[test]
fn row_9_a_head_that_is_too_large_gets_431() -> Result<()> {
    let scene = Scene::with(SMALL, "", echo::reply)?;
    scene.refuses(get("/", &format!("A: {}\r\n", "x".repeat(5000))), 431, "headers_too_large")?;
    let many: String = (0..20).map(|n| format!("A{n}: b\r\n")).collect();
    scene.refuses(get("/", &many), 431, "headers_too_large")?;
    let lines: String = (0..100).map(|n| format!("A{n}: {}\r\n", "x".repeat(100))).collect();
    scene.refuses(get("/", &lines), 431, "headers_too_large")
}

#[test]
fn row_9_a_head_within_the_limits_passes() -> Result<()> {
    let scene = Scene::with(SMALL, "", echo::reply)?;
    let answer = scene.ask(get(&format!("/{}", "p".repeat(900)), &format!("A: {}\r\n", "x".repeat(2500))))?;
    ensure!(answer.status == 200, "{answer:?}");
    let many: String = (0..18).map(|n| format!("A{n}: b\r\n")).collect();
    ensure!(scene.ask(get("/", &many))?.status == 200, "19 fields of 20");
    Ok(())
}

#[test]
fn row_9_the_defaults_are_the_contracts() -> Result<()> {
    let scene = Scene::echo()?;
    let fits = scene.ask(get("/", &format!("A: {}\r\n", "x".repeat(30_000))))?;
    ensure!(fits.status == 200, "30 kB of a head: {}", fits.status);
    scene.refuses(get("/", &format!("A: {}\r\n", "x".repeat(40_000))), 431, "headers_too_large")?;
    let target = scene.get(&format!("/{}", "p".repeat(8000)))?;
    ensure!(target.status == 200, "a target of 8,000 bytes: {}", target.status);
    scene.refuses(get(&format!("/{}", "p".repeat(9000)), ""), 414, "uri_too_long")?;
    let many: String = (0..120).map(|n| format!("A{n}: b\r\n")).collect();
    scene.refuses(get("/", &many), 431, "headers_too_large")
}

#[test]
fn row_9_a_target_that_is_too_long_gets_414() -> Result<()> {
    let scene = Scene::with(SMALL, "", echo::reply)?;
    scene.refuses(get(&format!("/{}", "p".repeat(1100)), ""), 414, "uri_too_long")?;
    scene.refuses(get(&format!("/?{}", "q".repeat(1100)), ""), 414, "uri_too_long")
}

#[test]
fn row_9_a_body_that_is_too_large_gets_413_before_any_of_it_is_sent() -> Result<()> {
    let scene = Scene::with("", "max_body = \"1KiB\"", echo::reply)?;
    scene.refuses(post("/", "", &"x".repeat(1025)), 413, "body_too_large")?;
    scene.refuses("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 99999999999\r\n\r\n", 413, "body_too_large")?;
    let fits = scene.ask(post("/", "", &"x".repeat(1024)))?;
    ensure!(fits.status == 200 && fits.json()["length"] == 1024, "{fits:?}");
    let zero = Scene::with("", "max_body = \"0\"", echo::reply)?;
    ensure!(zero.ask(post("/", "", &"x".repeat(11 << 20)))?.json()["length"] == 11 << 20, "0 is not without limit");
    let default = Scene::echo()?;
    default.refuses(post("/", "", &"x".repeat((10 << 20) + 1)), 413, "body_too_large")
}

#[test]
fn row_9_endless_heads_are_refused_while_they_come() -> Result<()> {
    let scene = Scene::echo()?;
    let mut client = scene.client()?;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nA: ")?;
    let part = vec![b'x'; 64 << 10];
    let mut sent = 0;
    while sent < 100 << 20 && client.send(&part).is_ok() {
        sent += part.len();
    }
    ensure!(sent < 20 << 20, "{} MiB of a head were taken", sent >> 20);
    let first = scene.client()?.ask([b"GET /".to_vec(), vec![b'p'; 1 << 20]].concat())?;
    first.is_refusal(414, "uri_too_long")?;
    ensure!(scene.backend.count() == 0, "the backend saw {:?}", scene.backend.seen());
    Ok(())
}

#[test]
fn row_9_a_connection_ends_after_as_many_requests_as_told() -> Result<()> {
    let scene = Scene::with("limits = { requests_per_connection = 3 }", "", echo::reply)?;
    let mut client = scene.client()?;
    for turn in 1..=3 {
        let answer = client.ask(get("/", ""))?;
        ensure!(answer.status == 200, "turn {turn}: {answer:?}");
        let says = answer.field("connection").is_some_and(|c| c.eq_ignore_ascii_case("close"));
        ensure!(says == (turn == 3), "turn {turn}: {:?}", answer.fields);
    }
    client.ended(Duration::from_secs(3))?;
    Ok(())
}
