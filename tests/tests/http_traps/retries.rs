//! Row 16: what may be tried again is, what may not is not.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use lb_tests::http::backend::{Backend, Reply, Then};
use lb_tests::http::proxy::Proxy;
use lb_tests::http::scene::{Scene, every, get, listener, pool, post, route};
use lb_tests::http::{echo, port};

#[test]
fn row_16_a_post_that_was_sent_is_not_tried_again() -> Result<()> {
    let scene = Scene::with("", "retry = { attempts = 3 }", |_| Reply::close())?;
    scene.ask(post("/", "", "hello"))?.is_refusal(502, "backend_closed")?;
    ensure!(scene.backend.count() == 1, "the backend saw it {} times", scene.backend.count());
    Ok(())
}

#[test]
fn row_16_a_get_that_got_no_byte_is_tried_again_as_often_as_told() -> Result<()> {
    every([("none", 0), ("one", 1), ("three", 3)], |attempts: usize| {
        let scene = Scene::with("", &format!("retry = {{ attempts = {attempts} }}"), |_| Reply::close())?;
        scene.get("/")?.is_refusal(502, "backend_closed")?;
        ensure!(scene.backend.count() == attempts + 1, "the backend saw it {} times", scene.backend.count());
        Ok(())
    })
}

#[test]
fn row_16_idempotent_methods_with_small_bodies_are_tried_again() -> Result<()> {
    let scene = Scene::with("", "retry = { attempts = 1 }", {
        let turn = AtomicUsize::new(0);
        move |seen| {
            if turn.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) { Reply::close() } else { echo::reply(seen) }
        }
    })?;
    let put = |size: usize| {
        let body = "x".repeat(size);
        format!("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {size}\r\n\r\n{body}")
    };
    for size in [0, 5, 60_000] {
        let answer = scene.ask(put(size))?;
        ensure!(answer.status == 200 && answer.json()["length"] == size, "{size}: {answer:?}");
        let seen = scene.backend.forget();
        ensure!(seen.len() == 2 && seen[0].body == seen[1].body, "{size}: {} requests", seen.len());
    }
    for method in ["DELETE", "OPTIONS", "HEAD"] {
        let answer = scene.ask(format!("{method} / HTTP/1.1\r\nHost: a.test\r\n\r\n"))?;
        ensure!(answer.status == 200 && scene.backend.forget().len() == 2, "{method}: {answer:?}");
    }
    scene.ask(put(200_000))?.is_refusal(502, "backend_closed")?;
    ensure!(scene.backend.forget().len() == 1, "a long body was sent again");
    Ok(())
}

#[test]
fn row_16_nothing_is_tried_again_once_an_answer_began() -> Result<()> {
    let scene = Scene::with("", "retry = { attempts = 3, on = [\"503\"] }", |_| {
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello").then(Then::Close)
    })?;
    if let Ok(answer) = scene.get("/") {
        ensure!(answer.cut || answer.status == 502, "{answer:?}");
    }
    ensure!(scene.backend.count() == 1, "the backend saw it {} times", scene.backend.count());
    Ok(())
}

#[test]
fn row_16_a_backend_that_refuses_connections_costs_no_request_of_any_method() -> Result<()> {
    let (good, dead, front) = (echo::backend()?, port::free()?, port::free()?);
    let lines = "algorithm = \"round-robin\"";
    let all = route("all", "pool = \"web\"\nretry = { attempts = 1, budget = \"100%\" }");
    let proxy = Proxy::start(&format!("{}{}{all}", listener(front, ""), pool("web", &[dead, good.address], lines)))?;
    for turn in 0..10 {
        let mut client = lb_tests::http::client::Client::connect(front)?;
        let answer = client.ask(post("/", "", "hello"))?;
        ensure!(answer.status == 200, "turn {turn}: {answer:?}");
    }
    ensure!(good.count() == 10, "the good backend saw {}", good.count());
    let lines = proxy.access_lines(10)?;
    ensure!(lines.iter().any(|l| l["retries"] == 1), "no retry in the log: {lines:?}");
    Ok(())
}

#[test]
fn row_16_statuses_are_tried_again_only_if_named() -> Result<()> {
    let handler = || {
        let turn = AtomicUsize::new(0);
        move |seen: &lb_tests::http::backend::Seen| {
            if turn.fetch_add(1, Ordering::Relaxed) == 0 { Reply::new("503 Busy", "busy") } else { echo::reply(seen) }
        }
    };
    let named = Scene::with("", "retry = { attempts = 1, on = [\"503\"] }", handler())?;
    ensure!(named.get("/")?.status == 200 && named.backend.count() == 2, "503 was not tried again");
    let silent = Scene::with("", "retry = { attempts = 1 }", handler())?;
    let answer = silent.get("/")?;
    ensure!(answer.status == 503 && answer.body == b"busy" && silent.backend.count() == 1, "{answer:?}");
    let posted = Scene::with("", "retry = { attempts = 1, on = [\"503\"] }", handler())?;
    ensure!(posted.ask(post("/", "", "hi"))?.status == 503 && posted.backend.count() == 1, "a POST was tried again");
    Ok(())
}

#[test]
fn row_16_retries_keep_within_their_budget() -> Result<()> {
    let scene = Scene::with("", "retry = { attempts = 1, budget = \"20%\" }", |_| Reply::close())?;
    let mut client = scene.client()?;
    for _ in 0..200 {
        let answer = match client.ask(get("/", "")) {
            Ok(answer) => answer,
            Err(_) => {
                client = scene.client()?;
                continue;
            }
        };
        ensure!(answer.status == 502, "{answer:?}");
    }
    let retries = scene.backend.count().saturating_sub(200);
    // 20 % of 200, or ten at least; a window's edge may let a few more pass.
    ensure!((10..=50).contains(&retries), "{retries} retries of 200 requests");
    Ok(())
}

#[test]
fn row_16_a_stale_connection_costs_no_request() -> Result<()> {
    // Answers once and closes shortly after: the next request finds a connection that is about to go.
    let backend =
        Backend::start(|seen| echo::reply(seen).and(std::time::Duration::from_millis(3), "").then(Then::Close))?;
    let front = port::free()?;
    let text =
        format!("{}{}{}", listener(front, ""), pool("web", &[backend.address], ""), route("all", "pool = \"web\""));
    let _proxy = Proxy::start(&text)?;
    let mut client = lb_tests::http::client::Client::connect(front)?;
    for turn in 0..100_u64 {
        let answer = client.ask(get("/", ""))?;
        ensure!(answer.status == 200, "turn {turn}: {answer:?}");
        lb_tests::clock::pass(std::time::Duration::from_micros((turn % 7) * 700));
    }
    Ok(())
}
