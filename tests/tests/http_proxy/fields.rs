//! Fields made for backends: forwarded addresses, scheme, host, Via, ids, and what a rewrite of the host does to them.

use anyhow::{Result, ensure};
use lb_tests::http::echo;
use lb_tests::http::scene::{Scene, get};

#[test]
fn a_backend_is_told_who_asked_and_how() -> Result<()> {
    let scene = Scene::with("", "rewrite = { host = \"inner.test\" }", echo::reply)?;
    ensure!(scene.ask(get("/", "User-Agent: me\r\nX-Custom: 1\r\n"))?.status == 200, "not served");
    let seen = scene.backend.only()?;
    ensure!(seen.all("host") == ["inner.test"], "{:?}", seen.text());
    ensure!(seen.all("x-forwarded-for") == ["127.0.0.1"], "{:?}", seen.text());
    ensure!(seen.all("x-forwarded-proto") == ["http"], "{:?}", seen.text());
    ensure!(seen.all("x-forwarded-host") == ["a.test"], "{:?}", seen.text());
    let forwarded = seen.all("forwarded").join(",").to_lowercase();
    for part in ["for=127.0.0.1", "proto=http", "host=a.test"] {
        ensure!(forwarded.replace('"', "").contains(part), "{forwarded}");
    }
    ensure!(
        seen.all("via").len() == 1 && seen.field("via").is_some_and(|v| v.starts_with("1.1 ")),
        "{:?}",
        seen.text()
    );
    ensure!(seen.all("x-request-id").len() == 1 && seen.field("x-custom") == Some("1"), "{:?}", seen.text());
    ensure!(seen.field("user-agent") == Some("me"), "{:?}", seen.text());
    Ok(())
}

#[test]
fn the_host_passes_as_sent() -> Result<()> {
    let scene = Scene::echo()?;
    for host in ["a.test", "a.test:8080", "[::1]:80"] {
        let _ = scene.backend.forget();
        let answer = scene.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))?;
        ensure!(answer.status == 200 && scene.backend.only()?.all("host") == [host], "{:?}", scene.backend.seen());
    }
    Ok(())
}

#[test]
fn bodies_pass_unchanged() -> Result<()> {
    let scene = Scene::echo()?;
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let mut bytes = format!("POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(&body);
    let answer = scene.ask(bytes)?.json();
    ensure!(answer["length"] == body.len() && answer["digest"] == echo::digest(&body), "{answer}");
    let mut chunked = b"POST /up HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for part in body.chunks(70_001) {
        chunked.extend(format!("{:x}\r\n", part.len()).into_bytes());
        chunked.extend_from_slice(part);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    let answer = scene.ask(chunked)?.json();
    ensure!(answer["length"] == body.len() && answer["digest"] == echo::digest(&body), "{answer}");
    Ok(())
}

#[test]
fn trace_context_passes() -> Result<()> {
    let scene = Scene::echo()?;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    scene.ask(get("/", &format!("traceparent: {parent}\r\ntracestate: a=b\r\n")))?;
    let seen = scene.backend.only()?;
    ensure!(
        seen.field("traceparent").is_some_and(|t| t.contains("0af7651916cd43dd8448eb211c80319c")),
        "{:?}",
        seen.text()
    );
    ensure!(seen.field("tracestate") == Some("a=b"), "{:?}", seen.text());
    Ok(())
}
