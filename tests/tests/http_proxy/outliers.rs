//! Outliers: a backend whose answers are errors is left alone for a while, and shown as such.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::clock;
use lb_tests::http::backend::{Backend, Reply};
use lb_tests::http::client::Client;
use lb_tests::http::proxy::Proxy;
use lb_tests::http::scene::{get, listener, pool, route};
use lb_tests::http::{echo, port};

#[test]
fn errors_in_a_row_eject_and_time_brings_back() -> Result<()> {
    let ill = Arc::new(AtomicBool::new(true));
    let of_backend = Arc::clone(&ill);
    let bad = Backend::start(move |_| {
        if of_backend.load(Ordering::Relaxed) { Reply::new("500 Oops", "bad") } else { Reply::ok("well") }
    })?;
    let good = echo::named("good")?;
    let front = port::free()?;
    let lines = "algorithm = \"round-robin\"\noutlier = { consecutive_errors = 3, eject = \"2s\" }";
    let tables =
        [listener(front, ""), pool("web", &[bad.address, good.address], lines), route("all", "pool = \"web\"")];
    let proxy = Proxy::start(&tables.concat())?;
    let mut client = Client::connect(front)?;
    let mut ask = || Ok::<_, anyhow::Error>(client.ask(get("/", ""))?.status);
    let errors = (0..40).map(|_| ask()).collect::<Result<Vec<_>>>()?.iter().filter(|s| **s == 500).count();
    ensure!((3..=5).contains(&errors), "{errors} of 40 got 500: ejected after 3");
    let shown = proxy.backend("web", &bad.address.to_string())?;
    let reason = shown["reason"].as_str().unwrap_or_default();
    ensure!(shown["health"] == "unhealthy" && reason.starts_with("ejected"), "{shown}");
    ill.store(false, Ordering::Relaxed);
    clock::until("it is back", Duration::from_secs(10), || {
        ask()?;
        Ok((bad.seen().len() > errors).then_some(()))
    })?;
    ensure!(proxy.backend("web", &bad.address.to_string())?["health"] != "unhealthy", "still shown as ejected");
    Ok(())
}

#[test]
fn no_more_than_max_ejected_are_left_alone() -> Result<()> {
    let backends = (0..2).map(|_| Backend::start(|_| Reply::new("500 Oops", "bad"))).collect::<Result<Vec<_>>>()?;
    let front = port::free()?;
    let lines =
        "algorithm = \"round-robin\"\noutlier = { consecutive_errors = 2, eject = \"30s\", max_ejected = \"50%\" }";
    let addresses: Vec<_> = backends.iter().map(|b| b.address).collect();
    let tables = [listener(front, ""), pool("web", &addresses, lines), route("all", "pool = \"web\"")];
    let proxy = Proxy::start(&tables.concat())?;
    let mut client = Client::connect(front)?;
    for n in 0..30 {
        let answer = client.ask(get("/", ""))?;
        ensure!(answer.status == 500 && answer.text() == "bad", "request {n}: {answer:?}");
    }
    let all = proxy.json(&["backend", "list"])?;
    let out = all.as_array().map_or(0, |a| a.iter().filter(|b| b["health"] == "unhealthy").count());
    ensure!(out == 1, "{out} of 2 ejected: {all}");
    Ok(())
}

#[test]
fn without_the_key_nobody_is_ejected() -> Result<()> {
    let bad = Backend::start(|_| Reply::new("500 Oops", "bad"))?;
    let front = port::free()?;
    let tables = [listener(front, ""), pool("web", &[bad.address], ""), route("all", "pool = \"web\"")];
    let proxy = Proxy::start(&tables.concat())?;
    let mut client = Client::connect(front)?;
    for _ in 0..50 {
        ensure!(client.ask(get("/", ""))?.status == 500, "not passed on");
    }
    ensure!(proxy.backend("web", &bad.address.to_string())?["health"] != "unhealthy" && bad.count() == 50, "ejected");
    Ok(())
}
