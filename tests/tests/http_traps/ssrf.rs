//! Rows 24 and 25: requests choose no targets, and write no log lines.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_tests::clock;
use lb_tests::http::backend::Backend;
use lb_tests::http::echo;
use lb_tests::http::scene::{Scene, every, get, route};

#[test]
fn row_24_a_request_names_no_target() -> Result<()> {
    let elsewhere = Backend::start(echo::reply)?;
    let there = elsewhere.address;
    let scene = Scene::routes("", &route("all", "match = { host = \"a.test\" }\npool = \"web\""), echo::reply)?;
    let cases = [
        ("absolute form", format!("GET http://{there}/ HTTP/1.1\r\nHost: {there}\r\n\r\n")),
        ("metadata", "GET http://169.254.169.254/latest HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n".to_owned()),
        ("host", format!("GET / HTTP/1.1\r\nHost: {there}\r\n\r\n")),
        ("another scheme", "GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned()),
        ("file", "GET file:///etc/passwd HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned()),
    ];
    every(cases, |bytes| {
        let answer = scene.ask(bytes)?;
        ensure!(matches!(answer.status, 400 | 404), "{answer:?}");
        ensure!(elsewhere.connections() == 0, "somebody connected to {there}");
        Ok(())
    })?;
    let claimed = scene.ask(get("/", &format!("X-Forwarded-Host: {there}\r\nX-Original-URL: http://{there}/\r\n")))?;
    ensure!(claimed.status == 200 && elsewhere.connections() == 0, "{claimed:?}");
    Ok(())
}

#[test]
fn row_25_a_request_is_one_line_of_the_log() -> Result<()> {
    let scene = Scene::with("trusted_proxies = [\"127.0.0.0/8\"]", "", echo::reply)?;
    let asked = [
        get("/a%0a%0dfake", ""),
        get("/a%22%2c%22status%22:200", ""),
        get("/%E2%80%AEevil", ""),
        get("/\u{202e}evil", ""),
        get("/%1b%5b31m", ""),
        "GET /h HTTP/1.1\r\nHost: a\"b.test\r\n\r\n".to_owned(),
        "GET /h HTTP/1.1\r\nHost: a\u{202e}b.test\r\n\r\n".to_owned(),
        get("/id", "X-Request-Id: a\u{202e}\u{2066}b\r\n"),
        get("/id", "X-Forwarded-Host: a\u{202e}b\r\n"),
        "G\"T / HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned(),
    ];
    for bytes in &asked {
        scene.ask(bytes).with_context(|| format!("{bytes:?}"))?;
    }
    scene.get("/last")?;
    clock::until("the last line", Duration::from_secs(3), || {
        Ok(scene.proxy.access()?.iter().any(|l| l["path"] == "/last").then_some(()))
    })?;
    let text = std::fs::read_to_string(scene.proxy.dir().join("access.log"))?;
    ensure!(text.lines().count() <= asked.len() + 1, "more lines than requests:\n{text}");
    let odd = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    ensure!(!text.contains(odd), "{:?}", text.chars().filter(|c| odd(*c)).collect::<String>());
    // Every line is a document of its own; `access` has read them all. Refused requests are in the log as well.
    ensure!(
        scene.proxy.access()?.len() == asked.len() + 1,
        "{} lines for {} requests",
        text.lines().count(),
        asked.len() + 1
    );
    ensure!(!scene.proxy.log().contains('\u{202e}'), "in the daemon's log");
    Ok(())
}
