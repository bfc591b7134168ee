//! Row 7, stalled windows, and row 8 over HTTP/2: streams that stop moving are taken down.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::clock;
use lb_tests::http::backend::Reply;
use lb_tests::http::echo;
use lb_tests::http::frames::{END_HEADERS, Frames, HEADERS, Outcome, RST_STREAM, get};
use lb_tests::http::scene::{Scene, every, get as get_1};

const INITIAL_WINDOW: u16 = 4;

#[test]
fn row_7_streams_whose_window_stays_shut_are_taken_down() -> Result<()> {
    let scene = Scene::with(
        "protocols = [\"h1\", \"h2c\"]\ntimeout = { idle = \"2s\" }",
        "timeout = { idle = \"1s\" }",
        |seen| {
            if seen.target == "/big" { Reply::ok(vec![b'x'; 1 << 20]) } else { echo::reply(seen) }
        },
    )?;
    let before = scene.proxy.memory()?;
    let mut frames = Frames::clear(scene.front, &[(INITIAL_WINDOW, 0)])?;
    for n in 0..50 {
        frames.request(2 * n + 1, &get("a.test", "/big"), true)?;
    }
    let outcome = frames.outcome(1)?;
    ensure!(!matches!(outcome, Outcome::Answer(..)), "{outcome:?} through a window that is shut");
    let grown = scene.proxy.memory()?.saturating_sub(before);
    ensure!(grown < 256 << 20, "{} MiB more memory", grown >> 20);
    let address = scene.backend.address.to_string();
    clock::until("no request in flight", Duration::from_secs(10), || {
        let flows = scene.proxy.backend("web", &address)?["active_flows"].clone();
        ensure!(flows == 0, "{flows} in flight");
        Ok(Some(()))
    })?;
    ensure!(scene.ask(get_1("/", ""))?.status == 200, "another client is not served");
    Ok(())
}

#[test]
fn row_8_over_http_2_a_stalled_body_is_ended() -> Result<()> {
    let scene = Scene::with("protocols = [\"h2c\"]\ntimeout = { body = \"1s\" }", "", echo::reply)?;
    let mut frames = Frames::clear(scene.front, &[])?;
    let mut fields = get("a.test", "/");
    fields[0].1 = b"POST";
    frames.request(1, &fields, false)?;
    let outcome = frames.outcome(1)?;
    ensure!(matches!(outcome, Outcome::Answer(408, _) | Outcome::Reset(_)), "{outcome:?}");
    ensure!(!scene.backend.seen().iter().any(|s| s.complete), "{:?}", scene.backend.seen());
    Ok(())
}

#[test]
fn row_8_over_http_2_a_head_that_stops_short_ends_the_connection() -> Result<()> {
    let scene = Scene::with("protocols = [\"h2c\"]\ntimeout = { header = \"1s\", idle = \"2s\" }", "", echo::reply)?;
    every([("preface only", false), ("half a head", true)], |half| {
        let mut frames = Frames::clear(scene.front, &[])?;
        if half {
            frames.send(HEADERS, 0, 1, b"")?;
        }
        let start = clock::now();
        let outcome = frames.given_up()?;
        ensure!(matches!(outcome, Outcome::GoAway(_) | Outcome::Closed), "{outcome:?}");
        ensure!(start.elapsed() < Duration::from_secs(8), "after {:?}", start.elapsed());
        Ok(())
    })?;
    let mut frames = Frames::clear(scene.front, &[])?;
    frames.request(1, &get("a.test", "/"), true)?;
    ensure!(matches!(frames.outcome(1)?, Outcome::Answer(200, _)), "a good request is not served");
    Ok(())
}

#[test]
fn row_21_over_http_2_a_reset_cancels_the_backends_request() -> Result<()> {
    let scene = Scene::with("protocols = [\"h2c\"]", "", |_| Reply::never())?;
    let mut frames = Frames::clear(scene.front, &[])?;
    frames.request(1, &get("a.test", "/slow"), true)?;
    clock::until("the backend has it", Duration::from_secs(5), || Ok((scene.backend.count() == 1).then_some(())))?;
    frames.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes())?;
    clock::until("it is cancelled", Duration::from_secs(5), || Ok((scene.backend.abandoned() == 1).then_some(())))
}

#[test]
fn row_17_over_http_2_early_hints_are_passed_on() -> Result<()> {
    let scene = Scene::with("protocols = [\"h2c\"]", "", |_| {
        Reply::raw("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
            .and(Duration::from_millis(200), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    })?;
    let mut frames = Frames::clear(scene.front, &[])?;
    frames.request(1, &get("a.test", "/"), true)?;
    let mut heads = 0;
    loop {
        let Some(got) = frames.receive()? else { anyhow::bail!("closed") };
        heads += u32::from(got.kind == HEADERS && got.flags & END_HEADERS != 0);
        if got.stream == 1 && got.flags & 1 != 0 && got.kind <= HEADERS {
            break;
        }
    }
    ensure!(heads == 2, "{heads} heads: 103 is lost");
    Ok(())
}
