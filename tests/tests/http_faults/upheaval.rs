//! Everything is changed under load, and not a request fails: reloads, a certificate, a backend drained and removed, a takeover.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_tests::clock;
use lb_tests::http::backend::{Backend, Reply, Seen, Then};
use lb_tests::http::client::Client;
use lb_tests::http::port;
use lb_tests::http::proxy::Proxy;
use lb_tests::http::scene::{get, pool, route};
use lb_tests::http::tls::Authority;

use crate::load::{Load, Target};

const NAME: &str = "a.test";
const H1: usize = 4;
const H2: usize = 3;
const WEBSOCKETS: usize = 3;

fn answer(seen: &Seen) -> Reply {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    if seen.field("upgrade").is_some() { Reply::raw(switch).then(Then::Echo) } else { Reply::ok("here") }
}

/// The configuration; `turn` changes something each time.
fn text(front: SocketAddr, backends: &[SocketAddr], turn: usize) -> String {
    [
        format!("[[listener]]\nname = \"edge\"\nlisten = \"{front}\"\nlimits = {{ fields = {} }}\n", 100 + turn),
        "[[listener.certificate]]\ncert = \"a.pem\"\nkey = \"a.key\"\n".to_owned(),
        pool("web", backends, "algorithm = \"round-robin\"\ndrain_timeout = \"3s\""),
        route("ws", "match = { path = \"/ws\" }\npool = \"web\""),
        route("all", &format!("pool = \"web\"\nmax_body = \"{}KiB\"", 1000 + turn)),
        route("turn", &format!("match = {{ path = \"/turn\" }}\nrespond = {{ body = \"{turn}\" }}")),
    ]
    .concat()
}

struct Scene {
    authority: Authority,
    backends: Vec<Backend>,
    proxy: Proxy,
    target: Target,
}

impl Scene {
    fn new() -> Result<Self> {
        let (authority, front) = (Authority::new()?, port::free()?);
        let backends = (0..3).map(|_| Backend::start(answer)).collect::<Result<Vec<_>>>()?;
        let pair = authority.server(&[NAME])?;
        let files: [(&str, &[u8]); 2] = [("a.pem", pair.cert.as_bytes()), ("a.key", pair.key.as_bytes())];
        let addresses: Vec<SocketAddr> = backends.iter().map(|b| b.address).collect();
        let proxy = Proxy::start_with("shutdown_timeout = \"5s\"", &files, &text(front, &addresses, 0))?;
        let (h1, h2) = (authority.trusting(&["http/1.1"], None)?, authority.trusting(&["h2"], None)?);
        Ok(Self { authority, backends, proxy, target: Target { front, name: NAME, h1, h2 } })
    }
    fn addresses(&self) -> Vec<SocketAddr> {
        self.backends.iter().map(|b| b.address).collect()
    }
    fn turn(&self) -> Result<String> {
        Ok(Client::tls(self.target.front, NAME, &self.target.h1)?.ask(get("/turn", ""))?.text())
    }
}

#[test]
fn nothing_fails_while_everything_changes() -> Result<()> {
    let _alone = crate::alone();
    let long = std::env::var_os("LB_LONG").is_some();
    let whole = Duration::from_secs(if long { 60 } else { 10 });
    let mut scene = Scene::new()?;
    let (start, front) = (clock::now(), scene.target.front);
    let load = Load::start(&scene.target, H1, H2, WEBSOCKETS);
    clock::until("the load runs", Duration::from_secs(10), || Ok((load.answered() > 200).then_some(())))
        .with_context(|| format!("{:?}", load.failures()))?;
    load.is_well("at first")?;

    for turn in 1..=20 {
        scene.proxy.reload(&text(front, &scene.addresses(), turn))?;
        ensure!(scene.turn()? == turn.to_string(), "reload {turn} is not in force when it returns");
        load.is_well(&format!("reload {turn}"))?;
    }
    ensure!(load.repeated() == 0, "{} connections were closed by reloads", load.repeated());

    let pair = scene.authority.server(&[NAME])?;
    scene.proxy.file("a.key", pair.key.as_bytes())?;
    scene.proxy.file("a.pem", pair.cert.as_bytes())?;
    clock::pass(Duration::from_secs(3));
    load.is_well("a new certificate")?;
    ensure!(load.repeated() == 0, "{} connections were closed by a new certificate", load.repeated());

    let leaving = scene.addresses()[0].to_string();
    scene.proxy.ok(&["backend", "drain", "web", &leaving])?;
    clock::pass(Duration::from_millis(500));
    load.is_well("a backend that drains")?;
    let rest = scene.addresses()[1..].to_vec();
    scene.proxy.reload(&text(front, &rest, 21))?;
    clock::until("the backend is gone", Duration::from_secs(10), || {
        Ok(scene.proxy.backend("web", &leaving).is_err().then_some(()))
    })?;
    load.is_well("a backend removed")?;

    let before = load.answered();
    scene.proxy.take_over()?;
    let status = scene.proxy.former_ends(Duration::from_secs(15))?;
    ensure!(status.success(), "the old process: {status}");
    load.is_well("a takeover")?;
    let clients = (H1 + H2) as u64;
    ensure!(load.repeated() <= clients, "{} requests were asked twice over a takeover", load.repeated());
    ensure!(scene.turn()? == "21", "the new process has another configuration");
    clock::pass(whole.saturating_sub(start.elapsed()));
    load.is_well("to the end")?;
    let answered = load.stop();
    ensure!(answered > before + 100, "{answered} answers, {before} of them before the takeover");
    println!("{answered} answers in {:?}", start.elapsed());
    Ok(())
}
