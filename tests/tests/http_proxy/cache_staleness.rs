//! Answers past their time: given while a new one is fetched, or where the backend fails (RFC 5861).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::clock;
use lb_tests::http::backend::Reply;
use lb_tests::http::scene::{Scene, get};

const AGED: Duration = Duration::from_millis(2100);

fn aging(cache: &str, head: &'static str) -> Result<(Scene, Arc<AtomicBool>)> {
    let (turn, ill) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
    let of_backend = Arc::clone(&ill);
    let scene = Scene::with("", &format!("retry = {{ attempts = 0 }}\ncache = {{ {cache} }}"), move |_| {
        if of_backend.load(Ordering::Relaxed) {
            return Reply::new("500 Oops", "ill");
        }
        Reply::new(head, turn.fetch_add(1, Ordering::Relaxed).to_string())
    })?;
    Ok((scene, ill))
}

#[test]
fn a_stale_answer_is_given_while_a_new_one_is_fetched() -> Result<()> {
    let (scene, _) = aging("stale_while_revalidate = \"30s\"", "200 OK\r\nCache-Control: max-age=1")?;
    ensure!(scene.get("/")?.text() == "0", "the first");
    clock::pass(AGED);
    let stale = scene.get("/")?;
    ensure!(stale.text() == "0", "waited for the new one: {stale:?}");
    clock::until("the new one", Duration::from_secs(5), || Ok((scene.get("/")?.text() == "1").then_some(())))?;
    let lines = scene.proxy.access_lines(2)?;
    ensure!(lines.iter().any(|l| l["cache"] == "stale"), "{lines:?}");
    Ok(())
}

#[test]
fn a_stale_answer_is_given_where_the_backend_fails() -> Result<()> {
    let (scene, ill) = aging("stale_if_error = \"30s\"", "200 OK\r\nCache-Control: max-age=1")?;
    ensure!(scene.get("/")?.text() == "0", "the first");
    ill.store(true, Ordering::Relaxed);
    clock::pass(AGED);
    let stale = scene.get("/")?;
    ensure!(stale.status == 200 && stale.text() == "0", "{stale:?}");
    let other = scene.get("/other")?;
    ensure!(other.status == 500, "an error that nothing stands in for: {other:?}");
    ill.store(false, Ordering::Relaxed);
    ensure!(scene.get("/")?.text() == "1", "the backend is well again");
    Ok(())
}

#[test]
fn without_the_keys_nothing_stale_is_given() -> Result<()> {
    let (scene, ill) = aging("max_size = \"1MiB\"", "200 OK\r\nCache-Control: max-age=1")?;
    ensure!(scene.get("/")?.text() == "0", "the first");
    clock::pass(AGED);
    ensure!(scene.get("/")?.text() == "1", "a stale answer");
    ill.store(true, Ordering::Relaxed);
    clock::pass(AGED);
    ensure!(scene.get("/")?.status == 500, "a stale answer in place of an error");
    Ok(())
}

#[test]
fn must_revalidate_forbids_it() -> Result<()> {
    let keys = "stale_if_error = \"30s\", stale_while_revalidate = \"30s\"";
    let (scene, ill) = aging(keys, "200 OK\r\nCache-Control: max-age=1, must-revalidate")?;
    ensure!(scene.get("/")?.text() == "0", "the first");
    clock::pass(AGED);
    ensure!(scene.get("/")?.text() == "1", "a stale answer");
    ill.store(true, Ordering::Relaxed);
    clock::pass(AGED);
    let failed = scene.get("/")?;
    ensure!(failed.status >= 500, "{failed:?}");
    Ok(())
}

#[test]
fn a_client_may_ask_past_the_cache() -> Result<()> {
    let (scene, _) = aging("max_size = \"1MiB\"", "200 OK\r\nCache-Control: max-age=60")?;
    ensure!(scene.get("/")?.text() == "0" && scene.get("/")?.text() == "0", "not kept");
    ensure!(scene.ask(get("/", "Cache-Control: no-cache\r\n"))?.text() == "1", "no-cache");
    let only = scene.ask(get("/none", "Cache-Control: only-if-cached\r\n"))?;
    ensure!(only.status == 504, "{only:?}");
    Ok(())
}
