//! What a service can be told besides where to listen, on every engine: port ranges, affinity, source ranges, rate limits,
//! and what happens without a backend.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_tests::clock;
use lb_tests::daemon::{Daemon, Engine};
use lb_tests::lab::addresses::{self, Family};
use lb_tests::lab::{Lab, Topology};
use lb_tests::load::echo::ping;
use lb_tests::load::server::{Ports, Server};
use lb_tests::load::spread::{Flows, Outcome, Protocol, spread};
use serde_json::Value;

const PORT: u16 = 7000;
const SHORT: Duration = Duration::from_millis(700);

/// Each check on each engine, in a lab of its own.
macro_rules! on_every_engine {
    ($($check:ident),+ $(,)?) => {
        mod xdp { use super::*; $(#[test] fn $check() -> Result<()> { super::$check(Engine::Xdp) })+ }
        mod xdp_generic { use super::*; $(#[test] fn $check() -> Result<()> { super::$check(Engine::XdpGeneric) })+ }
        mod userspace { use super::*; $(#[test] fn $check() -> Result<()> { super::$check(Engine::Userspace) })+ }
    };
}

on_every_engine!(
    a_range_keeps_the_packets_port,
    affinity_holds_a_client_to_its_backend,
    denied_sources_are_refused_and_counted,
    new_flows_beyond_the_rate_are_refused_and_counted,
    an_empty_pool_is_counted_as_no_backend,
    all_down_drops_or_spreads_as_told,
    service_addresses_answer_echo,
);

fn vip(port: u16) -> SocketAddr {
    SocketAddr::new(addresses::vip(10, Family::V4), port)
}

struct Scene {
    daemon: Daemon,
    _servers: Vec<Server>,
    lab: Lab,
}

impl Scene {
    /// Three backends with `ports`, and `text` as the configuration.
    fn new(engine: Engine, ports: &Ports, text: &str) -> Result<Self> {
        let lab = Lab::new(Topology::OneArmed, 3)?;
        let servers = lab.backends().iter().map(|b| Server::start(b, ports)).collect::<Result<Vec<_>>>()?;
        let daemon = Daemon::start(&lab, engine, text)?;
        Ok(Self { daemon, _servers: servers, lab })
    }

    fn udp(&self, to: SocketAddr, first: u32, count: u32) -> Result<Outcome> {
        spread(self.lab.client(), Flows::new(to, Protocol::Udp, first, count).patience(SHORT))
    }

    /// Waits for the backends' next hops and health, told by the first answer.
    fn ready(&self, to: SocketAddr) -> Result<()> {
        let mut first = 40_000;
        clock::until("every backend answers", Duration::from_secs(15), || {
            first += 20;
            Ok((self.udp(to, first, 20)?.by_backend().len() == 3).then_some(()))
        })
    }

    fn service(&self, name: &str) -> Result<Value> {
        let all = self.daemon.json(&["service", "list"])?;
        let found = all.as_array().context("no array")?.iter().find(|s| s["name"] == name);
        found.cloned().with_context(|| format!("no service {name}"))
    }

    fn dropped(&self, name: &str, reason: &str) -> Result<u64> {
        Ok(self.service(name)?["dropped"][reason].as_u64().unwrap_or(0))
    }
}

fn ports() -> Ports {
    Ports { lines: vec![PORT], http: Vec::new(), udp: vec![PORT] }
}

fn pool(name: &str, rest: &str) -> String {
    let list: Vec<String> = (0..3)
        .map(|i| format!("{{ address = \"{}\" }}", SocketAddr::new(addresses::backend(i, Family::V4), PORT)))
        .collect();
    format!("[[pool]]\nname = \"{name}\"\nbackends = [{}]\n{rest}\n", list.join(", "))
}

fn service(name: &str, port: u16, pool: &str, rest: &str) -> String {
    format!("[[service]]\nname = \"{name}\"\nlisten = \"{}/udp\"\npool = \"{pool}\"\n{rest}\n", vip(port))
}

fn a_range_keeps_the_packets_port(engine: Engine) -> Result<()> {
    let range: Vec<u16> = (5000..5010).collect();
    let list: Vec<String> =
        (0..3).map(|i| format!("{{ address = \"{}\" }}", addresses::backend(i, Family::V4))).collect();
    let text = format!(
        "[[pool]]\nname = \"web\"\nbackends = [{}]\n[[service]]\nname = \"range\"\nlisten = \"{}-5009/udp\"\npool = \"web\"\n",
        list.join(", "),
        vip(5000)
    );
    let scene = Scene::new(engine, &Ports { udp: range.clone(), ..Ports::default() }, &text)?;
    scene.ready(vip(5000))?;
    for (n, port) in (0..).zip(range) {
        let outcome = scene.udp(vip(port), n * 50, 50)?;
        ensure!(outcome.failed == 0, "port {port}: {:?}", outcome.failures);
        ensure!(outcome.by_backend().len() == 3, "port {port}: {:?}", outcome.by_backend());
    }
    ensure!(scene.udp(vip(5010), 10_000, 1)?.placed.is_empty(), "a port beyond the range is served");
    Ok(())
}

fn affinity_holds_a_client_to_its_backend(engine: Engine) -> Result<()> {
    let text = pool("web", "algorithm = \"random\"") + &service("held", 80, "web", "affinity = \"client-ip\"");
    let scene = Scene::new(engine, &ports(), &text)?;
    scene.ready(vip(80))?;
    let mut used = std::collections::BTreeSet::new();
    for client in 0..12 {
        let flows = Flows::new(vip(80), Protocol::Udp, client, 30).of_one_client();
        let outcome = spread(scene.lab.client(), flows)?;
        ensure!(outcome.failed == 0, "{:?}", outcome.failures);
        let by_backend = outcome.by_backend();
        ensure!(by_backend.len() == 1, "client {client} is on {by_backend:?}");
        used.extend(by_backend.into_keys());
    }
    ensure!(used.len() > 1, "all clients are on {used:?}");
    Ok(())
}

fn denied_sources_are_refused_and_counted(engine: Engine) -> Result<()> {
    let rest = "allow = [\"10.78.0.0/16\"]\ndeny = [\"10.78.0.3/32\", \"10.78.128.0/17\"]";
    let text = pool("web", "") + &service("fenced", 80, "web", rest);
    let scene = Scene::new(engine, &ports(), &text)?;
    // Sources 10.78.0.3, and 10.78.128.1 onward.
    let outcome = {
        // Up to 10.78.0.10: one of ten is denied. Asked until next hops are there.
        let mut first = 0;
        clock::until("those let in are answered", Duration::from_secs(15), || {
            first += addresses::CLIENTS;
            let outcome = scene.udp(vip(80), first, 10)?;
            ensure!(outcome.placed.len() == 9, "{} of 9 were answered: {:?}", outcome.placed.len(), outcome.failures);
            Ok(Some(outcome))
        })?
    };
    let denied = "10.78.0.3".parse::<std::net::IpAddr>()?;
    ensure!(outcome.placed.iter().all(|(from, _)| from.ip() != denied), "{denied} was let in");
    let before = scene.dropped("fenced", "denied")?;
    ensure!(before > 0, "the denied datagrams are not counted");
    ensure!(scene.udp(vip(80), 32_767, 5)?.placed.is_empty(), "10.78.128.0/17 was let in");
    clock::until("five more are counted as denied", Duration::from_secs(5), || {
        let now = scene.dropped("fenced", "denied")? - before;
        ensure!(now == 5, "{now} are counted");
        Ok(Some(()))
    })
}

fn new_flows_beyond_the_rate_are_refused_and_counted(engine: Engine) -> Result<()> {
    let rest = "rate_limit = { per = \"client-ip\", new_flows = \"1/s\", burst = 5 }";
    let text = pool("web", "") + &service("slow", 80, "web", rest);
    let scene = Scene::new(engine, &ports(), &text)?;
    // Other clients than the one below.
    scene.ready(vip(80))?;
    let before = scene.dropped("slow", "rate_limited")?;
    let flows = Flows::new(vip(80), Protocol::Udp, 7, 30).of_one_client().patience(SHORT);
    let outcome = spread(scene.lab.client(), flows)?;
    let answered = outcome.placed.len() as u64;
    ensure!((5..=8).contains(&answered), "{answered} of 30 flows were let in at a burst of 5 and 1/s");
    let counted = scene.dropped("slow", "rate_limited")? - before;
    ensure!(counted == 30 - answered, "{answered} were let in, {counted} are counted as refused");
    Ok(())
}

fn an_empty_pool_is_counted_as_no_backend(engine: Engine) -> Result<()> {
    let text = "[[pool]]\nname = \"none\"\nbackends = []\n".to_owned() + &service("lost", 80, "none", "");
    let scene = Scene::new(engine, &ports(), &text)?;
    ensure!(scene.udp(vip(80), 0, 3)?.placed.is_empty(), "someone answers for nobody");
    let counted = scene.dropped("lost", "no_backend")?;
    ensure!(counted == 3, "3 datagrams, {counted} counted as no_backend: {}", scene.service("lost")?);
    Ok(())
}

fn all_down_drops_or_spreads_as_told(engine: Engine) -> Result<()> {
    // The check asks a port that nobody listens on; the service's own is served.
    let check = "[pool.health]\ntype = \"tcp\"\ninterval = \"200ms\"\ntimeout = \"200ms\"\nfall = 2\n";
    let text = pool("drops", &format!("on_all_down = \"drop\"\n{check}"))
        + &pool("spreads", &format!("on_all_down = \"spread\"\n{check}"))
        + &service("drops", 80, "drops", "")
        + &service("spreads", 81, "spreads", "");
    let scene = Scene::new(engine, &Ports { udp: vec![PORT], ..Ports::default() }, &text)?;
    clock::until("all are unhealthy", Duration::from_secs(10), || {
        let all = scene.daemon.json(&["backend", "list"])?;
        Ok(all.as_array().context("no array")?.iter().all(|b| b["health"] == "unhealthy").then_some(()))
    })?;
    scene.ready(vip(81))?;
    let before = scene.dropped("drops", "no_backend")?;
    ensure!(scene.udp(vip(80), 0, 4)?.placed.is_empty(), "an unhealthy backend got a new flow");
    let counted = scene.dropped("drops", "no_backend")? - before;
    ensure!(counted == 4, "4 datagrams, {counted} counted as no_backend");
    Ok(())
}

fn service_addresses_answer_echo(engine: Engine) -> Result<()> {
    let v6 = SocketAddr::new(addresses::vip(10, Family::V6), 80);
    let mut text = pool("web", "") + &service("four", 80, "web", "");
    let backend = SocketAddr::new(addresses::backend(0, Family::V6), PORT);
    text += &format!("[[pool]]\nname = \"six\"\nbackends = [{{ address = \"{backend}\" }}]\n");
    text += &format!("[[service]]\nname = \"six\"\nlisten = \"{v6}/udp\"\npool = \"six\"\n");
    let scene = Scene::new(engine, &ports(), &text)?;
    for size in [0, 1, 56, 57, 1400] {
        ping(scene.lab.client(), vip(80).ip(), size)?;
        ping(scene.lab.client(), v6.ip(), size)?;
    }
    Ok(())
}
