//! Which backend a request gets: shares by algorithm and weight, hashing, backups, connections kept.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use lb_tests::http::backend::Backend;
use lb_tests::http::client::Client;
use lb_tests::http::proxy::Proxy;
use lb_tests::http::scene::{get, listener, route};
use lb_tests::http::{echo, port};

struct Farm {
    backends: Vec<Backend>,
    proxy: Proxy,
    front: SocketAddr,
}

fn farm(weights: &[&str], lines: &str) -> Result<Farm> {
    let backends = (0..weights.len()).map(|n| echo::named(&n.to_string())).collect::<Result<Vec<_>>>()?;
    let list: Vec<String> =
        backends.iter().zip(weights).map(|(b, w)| format!("{{ address = \"{}\"{w} }}", b.address)).collect();
    let front = port::free()?;
    let pool = format!("[[pool]]\nname = \"web\"\nbackends = [{}]\n{lines}\n", list.join(", "));
    let proxy = Proxy::start(&format!("{}{pool}{}", listener(front, ""), route("all", "pool = \"web\"")))?;
    Ok(Farm { backends, proxy, front })
}

impl Farm {
    /// So many requests over 20 connections; who got how many.
    fn ask(&self, count: usize, request: impl Fn(usize) -> String) -> Result<Vec<usize>> {
        let mut clients = (0..20).map(|_| Client::connect(self.front)).collect::<Result<Vec<_>>>()?;
        for n in 0..count {
            let clients_count = clients.len();
            let answer = clients[n % clients_count].ask(request(n))?;
            ensure!(answer.status == 200, "request {n}: {answer:?}");
        }
        Ok(self.counts())
    }
    fn counts(&self) -> Vec<usize> {
        self.backends.iter().map(Backend::count).collect()
    }
}

#[test]
fn shares_follow_the_algorithm_and_the_weights() -> Result<()> {
    let weights = ["", ", weight = 3"];
    for (algorithm, range) in [
        ("round-robin", 450..=550),
        ("weighted-round-robin", 200..=300),
        ("random", 200..=300),
        ("p2c", 100..=450),
        ("least-connections", 100..=500),
    ] {
        let farm = farm(&weights, &format!("algorithm = \"{algorithm}\""))?;
        let counts = farm.ask(1000, |_| get("/", ""))?;
        ensure!(counts.iter().sum::<usize>() == 1000, "{algorithm}: {counts:?}");
        ensure!(range.contains(&counts[0]), "{algorithm}: the first of weights 1 and 3 got {counts:?}");
    }
    Ok(())
}

#[test]
fn hashing_keeps_a_key_at_its_backend() -> Result<()> {
    for algorithm in ["source-hash", "maglev", "ring-hash"] {
        for (on, request) in [
            ("header:X-User", (|n| get("/", &format!("X-User: u{}\r\n", n % 50))) as fn(usize) -> String),
            ("cookie:user", |n| get("/", &format!("Cookie: a=b; user=u{}\r\n", n % 50))),
            ("path", |n| get(&format!("/p{}", n % 50), "")),
        ] {
            let farm = farm(&["", "", ""], &format!("algorithm = \"{algorithm}\"\nhash_on = \"{on}\""))?;
            let first = farm.ask(50, request)?;
            ensure!(first.iter().all(|c| *c > 0), "{algorithm} {on}: one of {first:?} got nothing of 50 keys");
            let third = farm.ask(100, request)?;
            let want: Vec<usize> = first.iter().map(|c| c * 3).collect();
            ensure!(third == want, "{algorithm} {on}: keys moved: {first:?}, then {third:?}");
        }
    }
    Ok(())
}

#[test]
fn a_client_stays_at_its_backend_by_address() -> Result<()> {
    let farm = farm(&["", "", ""], "algorithm = \"source-hash\"")?;
    let counts = farm.ask(60, |_| get("/", ""))?;
    ensure!(counts.iter().filter(|c| **c == 60).count() == 1, "{counts:?}");
    Ok(())
}

#[test]
fn weight_0_gets_nothing() -> Result<()> {
    for algorithm in ["p2c", "weighted-round-robin", "random", "least-connections", "maglev", "ring-hash"] {
        let farm = farm(&["", ", weight = 0"], &format!("algorithm = \"{algorithm}\"\nhash_on = \"path\""))?;
        let counts = farm.ask(100, |n| get(&format!("/{n}"), ""))?;
        ensure!(counts == [100, 0], "{algorithm}: {counts:?}");
    }
    Ok(())
}

#[test]
fn a_backup_is_for_when_nobody_else_can() -> Result<()> {
    let lines = "[pool.health]\ntype = \"tcp\"\ninterval = \"100ms\"\ntimeout = \"100ms\"\nrise = 1\nfall = 1";
    let mut farm = farm(&["", ", backup = true"], lines)?;
    ensure!(farm.ask(20, |_| get("/", ""))? == [20, 0], "{:?}", farm.counts());
    let gone = farm.backends.remove(0).address.to_string();
    lb_tests::clock::until("the first is unhealthy", std::time::Duration::from_secs(10), || {
        Ok((farm.proxy.backend("web", &gone)?["health"] == "unhealthy").then_some(()))
    })?;
    ensure!(farm.ask(20, |_| get("/", ""))? == [20], "{:?}", farm.counts());
    Ok(())
}

#[test]
fn connections_to_backends_are_kept() -> Result<()> {
    let farm = farm(&[""], "")?;
    farm.ask(400, |_| get("/", ""))?;
    let made = farm.backends[0].connections();
    ensure!(made <= 40, "{made} connections for 400 requests of 20 clients, one after another");
    Ok(())
}

#[test]
fn counts_of_a_backend_are_its_requests() -> Result<()> {
    let farm = farm(&[""], "")?;
    farm.ask(25, |_| get("/", ""))?;
    let shown = farm.proxy.backend("web", &farm.backends[0].address.to_string())?;
    ensure!(shown["flows_total"] == 25 && shown["active_flows"] == 0 && shown["packets"] == 0, "{shown}");
    let sent: usize = farm.backends[0].seen().iter().map(|s| s.head.len() + s.body.len()).sum();
    ensure!(shown["bytes"].as_u64() == Some(sent as u64), "{} bytes, and {sent} came", shown["bytes"]);
    Ok(())
}
