//! Thousands of clients that begin and do not go on: memory stays bounded, others are served, and they are let go.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_tests::clock;
use lb_tests::http::client::Client;
use lb_tests::http::echo;
use lb_tests::http::scene::{Scene, get};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::witness::Witness;

fn count() -> usize {
    if std::env::var_os("LB_LONG").is_some() { 10_000 } else { 2_000 }
}

/// Files for us and, inherited, for the product: each holds one end of every connection.
fn raise_limits() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let want = most.min(65_536);
    ensure!(want > count() as u64 + 500, "only {most} files may be open: ulimit -n");
    setrlimit(Resource::RLIMIT_NOFILE, want, most).context("ulimit")
}

#[test]
fn half_open_requests_cost_little_and_harm_nobody() -> Result<()> {
    let _alone = crate::alone();
    raise_limits()?;
    let scene = Scene::with("timeout = { header = \"6s\", idle = \"6s\" }", "", echo::reply)?;
    let witness = Witness::new(scene.front)?;
    let before = scene.proxy.memory()?;
    let clients = witness.during(|| {
        let mut clients = Vec::new();
        for n in 0..count() {
            let mut client = scene.client().with_context(|| format!("client {n}"))?;
            client.send("GET / HTTP/1.1\r\nHost: a.te")?;
            clients.push(client);
        }
        Ok(clients)
    })?;
    let grown = scene.proxy.memory()?.saturating_sub(before);
    let allowed = (32 << 20) + 32 * 1024 * count() as u64;
    ensure!(grown < allowed, "{} half-open requests take {} MiB", count(), grown >> 20);
    ensure!(scene.get("/")?.status == 200, "another client is not served");
    // All are let go, each with its answer; the first and the last are looked at byte by byte.
    let mut clients = clients.into_iter();
    for client in [clients.next(), clients.next_back()].into_iter().flatten().collect::<Vec<Client>>().iter_mut() {
        client.patience = Duration::from_secs(15);
        client.answer(false)?.is_refusal(408, "client_timeout")?;
    }
    let mut left: Vec<Client> = clients.collect();
    clock::until("all are let go", Duration::from_secs(20), || {
        left.retain_mut(|c| c.ended(Duration::from_millis(1)).is_err());
        Ok(left.is_empty().then_some(()))
    })?;
    ensure!(scene.backend.seen().iter().all(|s| s.complete), "a half request reached the backend");
    ensure!(scene.ask(get("/after", ""))?.status == 200, "nothing is served afterwards");
    Ok(())
}

#[test]
fn a_backend_that_does_not_read_holds_its_client_back() -> Result<()> {
    let _alone = crate::alone();
    // Accepts and reads nothing: what a client sends has nowhere to go.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0")?;
    let front = lb_tests::http::port::free()?;
    let text = [
        lb_tests::http::scene::listener(front, "timeout = { body = \"60s\" }"),
        lb_tests::http::scene::pool("web", &[deaf.local_addr()?], ""),
        lb_tests::http::scene::route("all", "pool = \"web\"\nmax_body = \"0\"\ntimeout = { request = \"60s\" }"),
    ];
    let proxy = lb_tests::http::proxy::Proxy::start(&text.concat())?;
    let before = proxy.memory()?;
    let mut client = Client::connect(front)?;
    client.stream.tcp().set_write_timeout(Some(Duration::from_secs(2)))?;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10000000000\r\n\r\n")?;
    let (part, mut sent) = (vec![0; 1 << 20], 0_u64);
    while sent < 1 << 30 && client.send(&part).is_ok() {
        sent += part.len() as u64;
    }
    ensure!(sent < 128 << 20, "{} MiB were taken for a backend that reads nothing", sent >> 20);
    let grown = proxy.memory()?.saturating_sub(before);
    ensure!(grown < 64 << 20, "{} MiB more memory", grown >> 20);
    Ok(())
}

#[test]
fn a_client_that_does_not_read_holds_its_backend_back() -> Result<()> {
    let _alone = crate::alone();
    let scene = Scene::answering(|seen| match seen.target.as_str() {
        "/big" => lb_tests::http::backend::Reply::ok(vec![b'x'; 64 << 20]),
        _ => echo::reply(seen),
    })?;
    let before = scene.proxy.memory()?;
    let mut clients = (0..10).map(|_| scene.client()).collect::<Result<Vec<_>>>()?;
    for client in &mut clients {
        client.send(get("/big", ""))?;
    }
    clock::pass(Duration::from_secs(2));
    let grown = scene.proxy.memory()?.saturating_sub(before);
    ensure!(grown < 64 << 20, "{} MiB more memory for 10 clients that do not read", grown >> 20);
    let whole = clients[0].answer(false)?;
    ensure!(whole.body.len() == 64 << 20, "{} bytes", whole.body.len());
    Ok(())
}
