//! Draining at layer 7: what is in flight ends well, nothing new comes, tunnels end at the deadline.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::clock;
use lb_tests::http::backend::{Backend, Reply, Then};
use lb_tests::http::client::Client;
use lb_tests::http::proxy::Proxy;
use lb_tests::http::scene::{get, listener, pool, route};
use lb_tests::http::{echo, port};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[test]
fn a_request_in_flight_ends_and_no_other_comes() -> Result<()> {
    let slow = Backend::start(|_| Reply::ok("slow").after(Duration::from_millis(1500)))?;
    let (other, front) = (echo::named("other")?, port::free()?);
    let lines = "algorithm = \"round-robin\"";
    let tables =
        [listener(front, ""), pool("web", &[slow.address, other.address], lines), route("all", "pool = \"web\"")];
    let proxy = Proxy::start(&tables.concat())?;
    let mut first = Client::connect(front)?;
    let mut clients = vec![Client::connect(front)?];
    while slow.count() == 0 {
        first.send(get("/", ""))?;
        clock::pass(Duration::from_millis(100));
        if slow.count() == 0 {
            first.answer(false)?;
        }
    }
    let address = slow.address.to_string();
    ensure!(proxy.backend("web", &address)?["active_flows"] == 1, "{}", proxy.backend("web", &address)?);
    proxy.ok(&["backend", "drain", "web", &address])?;
    ensure!(proxy.backend("web", &address)?["state"] == "draining", "{}", proxy.backend("web", &address)?);
    for _ in 0..10 {
        ensure!(clients[0].ask(get("/", ""))?.text() == "other", "a draining backend got a request");
    }
    clients.clear();
    ensure!(first.answer(false)?.text() == "slow", "the request in flight did not end well");
    clock::until("drained", Duration::from_secs(5), || {
        Ok((proxy.backend("web", &address)?["state"] == "drained").then_some(()))
    })?;
    ensure!(slow.count() == 1, "{} requests", slow.count());
    Ok(())
}

#[test]
fn a_tunnel_lasts_until_the_deadline_and_is_told() -> Result<()> {
    let backend = Backend::start(|_| Reply::raw(SWITCH).then(Then::Echo))?;
    let front = port::free()?;
    let tables = [
        listener(front, ""),
        pool("web", &[backend.address], "drain_timeout = \"1500ms\""),
        route("all", "pool = \"web\""),
    ];
    let proxy = Proxy::start(&tables.concat())?;
    let mut client = Client::connect(front)?;
    ensure!(client.ask(get("/", UPGRADE))?.status == 101, "no tunnel");
    let address = backend.address.to_string();
    proxy.ok(&["backend", "drain", "web", &address])?;
    let start = clock::now();
    client.send(b"\x81\x82\0\0\0\0hi")?;
    ensure!(client.some(Duration::from_secs(1))? == b"\x81\x82\0\0\0\0hi", "the tunnel does not live");
    let (_, rest) = client.ended(Duration::from_secs(6))?;
    let took = start.elapsed();
    ensure!((Duration::from_millis(1000)..Duration::from_secs(5)).contains(&took), "the tunnel ended after {took:?}");
    // A close frame from the server: FIN and opcode 8, no mask, 1001 "going away" (RFC 6455 §5.5.1, §7.4.1).
    ensure!(
        rest.len() >= 4 && rest[0] == 0x88 && rest[1] & 0x80 == 0 && rest[2..4] == 1001_u16.to_be_bytes(),
        "{rest:x?}"
    );
    clock::until("drained", Duration::from_secs(5), || {
        Ok((proxy.backend("web", &address)?["state"] == "drained").then_some(()))
    })
}

#[test]
fn the_end_of_the_process_waits_for_requests() -> Result<()> {
    let slow = Backend::start(|_| Reply::ok("slow").after(Duration::from_millis(1500)))?;
    let front = port::free()?;
    let tables = [listener(front, ""), pool("web", &[slow.address], ""), route("all", "pool = \"web\"")];
    let mut proxy = Proxy::start(&tables.concat())?;
    let mut client = Client::connect(front)?;
    client.send(get("/", ""))?;
    clock::until("the backend has it", Duration::from_secs(5), || Ok((slow.count() == 1).then_some(())))?;
    let mut idle = Client::connect(front)?;
    proxy.signal(nix::sys::signal::Signal::SIGTERM)?;
    let answer = client.answer(false)?;
    ensure!(answer.status == 200 && answer.text() == "slow", "{answer:?}");
    ensure!(answer.field("connection").is_some_and(|c| c.eq_ignore_ascii_case("close")), "{:?}", answer.fields);
    idle.ended(Duration::from_secs(5))?;
    let status = proxy.wait(Duration::from_secs(10))?;
    ensure!(status.success(), "{status}");
    ensure!(Client::connect(front).is_err(), "somebody still listens");
    Ok(())
}

#[test]
fn a_removed_backend_drains_first() -> Result<()> {
    let slow = Backend::start(|_| Reply::ok("slow").after(Duration::from_millis(1000)))?;
    let (other, front) = (echo::named("other")?, port::free()?);
    let with = |backends: &[std::net::SocketAddr]| {
        [listener(front, ""), pool("web", backends, "algorithm = \"round-robin\""), route("all", "pool = \"web\"")]
            .concat()
    };
    let proxy = Proxy::start(&with(&[slow.address]))?;
    let mut client = Client::connect(front)?;
    client.send(get("/", ""))?;
    clock::until("the backend has it", Duration::from_secs(5), || Ok((slow.count() == 1).then_some(())))?;
    proxy.reload(&with(&[other.address]))?;
    let address = slow.address.to_string();
    ensure!(proxy.backend("web", &address)?["state"] == "draining", "{}", proxy.backend("web", &address)?);
    ensure!(client.answer(false)?.text() == "slow", "the request in flight was cut off");
    clock::until("it is gone", Duration::from_secs(5), || Ok(proxy.backend("web", &address).is_err().then_some(())))?;
    ensure!(client.ask(get("/", ""))?.text() == "other", "the new backend");
    Ok(())
}
