//! Time-outs toward backends: connecting, the head, silence in a body.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::clock;
use lb_tests::http::backend::{Reply, Then};
use lb_tests::http::client::Client;
use lb_tests::http::echo;
use lb_tests::http::port;
use lb_tests::http::proxy::Proxy;
use lb_tests::http::scene::{Scene, get, listener, pool, route};

#[test]
fn a_backend_that_does_not_answer_in_time_gets_504() -> Result<()> {
    let scene = Scene::with("", "timeout = { request = \"500ms\" }\nretry = { attempts = 0 }", |seen| {
        match seen.target.as_str() {
            "/never" => Reply::never(),
            "/late" => Reply::ok("late").after(Duration::from_millis(300)),
            _ => echo::reply(seen),
        }
    })?;
    let start = clock::now();
    scene.get("/never")?.is_refusal(504, "backend_timeout")?;
    ensure!(
        (Duration::from_millis(400)..Duration::from_secs(4)).contains(&start.elapsed()),
        "after {:?}",
        start.elapsed()
    );
    clock::until("the request is cancelled", Duration::from_secs(5), || {
        Ok((scene.backend.abandoned() == 1).then_some(()))
    })?;
    ensure!(scene.get("/late")?.text() == "late", "300 ms of 500");
    Ok(())
}

#[test]
fn the_time_covers_retries_too() -> Result<()> {
    let scene = Scene::with("", "timeout = { request = \"500ms\" }\nretry = { attempts = 5 }", |_| {
        Reply::raw("").after(Duration::from_millis(200)).then(Then::Close)
    })?;
    let start = clock::now();
    let answer = scene.get("/")?;
    ensure!(matches!(answer.status, 502 | 504), "{answer:?}");
    ensure!(start.elapsed() < Duration::from_millis(1500), "after {:?}", start.elapsed());
    Ok(())
}

#[test]
fn a_long_body_has_no_time_limit_but_silence() -> Result<()> {
    let scene = Scene::with("", "timeout = { request = \"500ms\", idle = \"1s\" }", |seen| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n";
        let pause = if seen.target == "/moves" { 300 } else { 3000 };
        (0..6).fold(Reply::raw(head), |r, _| r.and(Duration::from_millis(pause), "xxxxx"))
    })?;
    let moves = scene.get("/moves")?;
    ensure!(moves.status == 200 && moves.body.len() == 30 && !moves.cut, "{moves:?}");
    let start = clock::now();
    let silent = scene.get("/silent")?;
    ensure!(silent.cut && start.elapsed() < Duration::from_secs(3), "{silent:?} after {:?}", start.elapsed());
    Ok(())
}

#[test]
fn a_backend_that_does_not_accept_gets_504() -> Result<()> {
    // A backlog that is full: the kernel drops further SYNs.
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    nix::sys::socket::listen(&socket, nix::sys::socket::Backlog::new(0)?)?;
    let _filled: Vec<_> =
        (0..4).map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200))).collect();
    let front = port::free()?;
    let tables = [
        listener(front, ""),
        pool("web", &[address], ""),
        route("all", "pool = \"web\"\ntimeout = { connect = \"300ms\" }\nretry = { attempts = 0 }"),
    ];
    let _proxy = Proxy::start(&tables.concat())?;
    let start = clock::now();
    Client::connect(front)?.ask(get("/", ""))?.is_refusal(504, "connect_timeout")?;
    ensure!(
        (Duration::from_millis(250)..Duration::from_secs(3)).contains(&start.elapsed()),
        "after {:?}",
        start.elapsed()
    );
    Ok(())
}

#[test]
fn a_silent_tunnel_is_closed() -> Result<()> {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let scene = Scene::with("", "timeout = { idle = \"1s\" }", move |_| Reply::raw(switch).then(Then::Echo))?;
    let mut client = scene.client()?;
    let start = clock::now();
    let answer = client.ask(get("/", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"))?;
    ensure!(answer.status == 101, "{answer:?}");
    client.ended(Duration::from_secs(5))?;
    ensure!(start.elapsed() > Duration::from_millis(800), "after {:?}", start.elapsed());
    Ok(())
}
