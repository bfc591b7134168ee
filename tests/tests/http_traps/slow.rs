//! Row 8: clients that are slow, each kind with its own time-out.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::clock;
use lb_tests::http::client::Client;
use lb_tests::http::echo;
use lb_tests::http::scene::{Scene, get};

const SHORT: &str = "timeout = { header = \"1s\", body = \"1s\", idle = \"1s\", tls = \"1s\" }";
const BOUND: Duration = Duration::from_secs(5);

/// Sends a byte every 100 ms until the other side ends or `bytes` are out.
fn drip(client: &mut Client, bytes: &[u8]) -> usize {
    for (n, byte) in bytes.iter().enumerate() {
        if client.send([*byte]).is_err() {
            return n;
        }
        clock::pass(Duration::from_millis(100));
    }
    bytes.len()
}

#[test]
fn row_8_a_head_that_does_not_come_gets_408() -> Result<()> {
    let scene = Scene::with(SHORT, "", echo::reply)?;
    let start = clock::now();
    let mut client = scene.client()?;
    client.send("GET / HTTP/1.1\r\nHost: a.te")?;
    client.answer(false)?.is_refusal(408, "client_timeout")?;
    client.ended(BOUND)?;
    ensure!((Duration::from_millis(800)..BOUND).contains(&start.elapsed()), "after {:?}", start.elapsed());
    ensure!(scene.backend.count() == 0 && scene.get("/")?.status == 200, "{:?}", scene.backend.seen());
    Ok(())
}

#[test]
fn row_8_a_head_that_drips_gets_408() -> Result<()> {
    let scene = Scene::with(SHORT, "", echo::reply)?;
    let mut client = scene.client()?;
    let line = "X-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let start = clock::now();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n")?;
    drip(&mut client, line.as_bytes());
    ensure!(start.elapsed() < Duration::from_secs(20), "dripping went on");
    // The answer may have been overtaken by the reset that our own dripping caused.
    if let Ok(answer) = client.answer(false) {
        answer.is_refusal(408, "client_timeout")?;
    }
    ensure!(scene.backend.count() == 0 && scene.get("/")?.status == 200, "{:?}", scene.backend.seen());
    Ok(())
}

#[test]
fn row_8_a_connection_without_a_byte_is_closed() -> Result<()> {
    let scene = Scene::with(SHORT, "", echo::reply)?;
    let mut client = scene.client()?;
    client.ended(BOUND)?;
    let mut used = scene.client()?;
    ensure!(used.ask(get("/", ""))?.status == 200, "a good request is not served");
    let (_, rest) = used.ended(BOUND)?;
    ensure!(rest.is_empty(), "an idle connection was told {:?}", String::from_utf8_lossy(&rest));
    Ok(())
}

#[test]
fn row_8_an_idle_connection_lives_as_long_as_told() -> Result<()> {
    let scene = Scene::with("timeout = { header = \"500ms\", idle = \"10s\" }", "", echo::reply)?;
    let mut client = scene.client()?;
    ensure!(client.ask(get("/", ""))?.status == 200, "a good request is not served");
    client.stays_quiet(Duration::from_millis(1500))?;
    ensure!(client.ask(get("/", ""))?.status == 200, "the second request is not served");
    Ok(())
}

#[test]
fn row_8_a_body_that_stalls_gets_408() -> Result<()> {
    let scene = Scene::with(SHORT, "", echo::reply)?;
    let mut client = scene.client()?;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello")?;
    client.answer(false)?.is_refusal(408, "client_timeout")?;
    client.ended(BOUND)?;
    ensure!(!scene.backend.seen().iter().any(|s| s.complete), "{:?}", scene.backend.seen());
    ensure!(scene.get("/")?.status == 200, "a good request is not served");
    Ok(())
}

#[test]
fn row_8_a_body_that_moves_is_waited_for() -> Result<()> {
    let scene = Scene::with(SHORT, "", echo::reply)?;
    let mut client = scene.client()?;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 20\r\n\r\n")?;
    ensure!(drip(&mut client, &[b'x'; 20]) == 20, "ended while the body came");
    ensure!(client.answer(false)?.json()["length"] == 20, "the body is not whole");
    Ok(())
}
