//! `max_requests` and the queue: no more at once than told, the rest waits or is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::http::answer::Answer;
use lb_tests::http::backend::{Backend, Reply};
use lb_tests::http::client::Client;
use lb_tests::http::port;
use lb_tests::http::proxy::Proxy;
use lb_tests::http::scene::{get, listener, pool, route};

/// So many at once against a backend that takes 300 ms each; the answers, and the most that were at work at once.
fn burst(lines: &str, count: usize) -> Result<(Vec<Answer>, usize)> {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (at, top) = (Arc::clone(&now), Arc::clone(&most));
    // The handler runs while the request is at work; the reply itself has no pause.
    let backend = Backend::start(move |_| {
        top.fetch_max(at.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        lb_tests::clock::pass(Duration::from_millis(300));
        at.fetch_sub(1, Ordering::SeqCst);
        Reply::ok("done")
    })?;
    let front = port::free()?;
    let tables = [listener(front, ""), pool("web", &[backend.address], lines), route("all", "pool = \"web\"")];
    let _proxy = Proxy::start(&tables.concat())?;
    let asked: Vec<_> = (0..count)
        .map(|_| std::thread::spawn(move || -> Result<Answer> { Client::connect(front)?.ask(get("/", "")) }))
        .collect();
    let answers =
        asked.into_iter().map(|t| t.join().map_err(|_| anyhow::anyhow!("panicked"))?).collect::<Result<Vec<_>>>()?;
    Ok((answers, most.load(Ordering::SeqCst)))
}

fn served(answers: &[Answer]) -> usize {
    answers.iter().filter(|a| a.status == 200).count()
}

#[test]
fn without_a_queue_the_surplus_is_refused_at_once() -> Result<()> {
    let (answers, most) = burst("max_requests = 2", 6)?;
    ensure!(most <= 2, "{most} at once");
    ensure!((2..6).contains(&served(&answers)), "{} served", served(&answers));
    for refused in answers.iter().filter(|a| a.status != 200) {
        refused.is_refusal(503, "queue_full")?;
        ensure!(refused.field("retry-after") == Some("1"), "{refused:?}");
    }
    Ok(())
}

#[test]
fn a_queue_lets_them_wait() -> Result<()> {
    let (answers, most) = burst("max_requests = 2\nqueue = { size = 10, timeout = \"5s\" }", 6)?;
    ensure!(most == 2 && served(&answers) == 6, "{} served, {most} at once", served(&answers));
    Ok(())
}

#[test]
fn a_queue_is_no_longer_than_told() -> Result<()> {
    let (answers, _) = burst("max_requests = 1\nqueue = { size = 2, timeout = \"5s\" }", 8)?;
    ensure!((3..8).contains(&served(&answers)), "{} served", served(&answers));
    for refused in answers.iter().filter(|a| a.status != 200) {
        refused.is_refusal(503, "queue_full")?;
    }
    Ok(())
}

#[test]
fn nobody_waits_longer_than_told() -> Result<()> {
    let (answers, _) = burst("max_requests = 1\nqueue = { size = 10, timeout = \"100ms\" }", 4)?;
    ensure!(served(&answers) >= 1 && served(&answers) < 4, "{} served", served(&answers));
    for refused in answers.iter().filter(|a| a.status != 200) {
        ensure!(refused.status == 503 && refused.field("retry-after").is_some(), "{refused:?}");
    }
    Ok(())
}
