//! Compression: which coding, which answers, and what else changes with it.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::http::backend::{Reply, Then};
use lb_tests::http::scene::{Scene, every, get};

const LONG: usize = 20_000;

fn scene(compress: &str) -> Result<Scene> {
    Scene::with("", &format!("compress = {compress}"), |seen| {
        let text = "all work and no play ".repeat(LONG / 21 + 1)[..LONG].to_owned();
        match seen.target.as_str() {
            "/png" => Reply::new("200 OK\r\nContent-Type: image/png", text),
            "/short" => Reply::new("200 OK\r\nContent-Type: text/plain", "short"),
            "/coded" => Reply::new("200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: x-mine", text),
            "/fixed" => Reply::new("200 OK\r\nContent-Type: text/plain\r\nCache-Control: no-transform", text),
            "/part" => Reply::new(
                "206 Partial Content\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-19999/30000",
                text,
            ),
            "/events" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n")
                .and(Duration::from_millis(1500), "data: two\n\n")
                .then(Then::Close),
            _ => Reply::new("200 OK\r\nContent-Type: text/plain\r\nETag: \"v1\"", text),
        }
    })
}

/// What a coding's own program makes of the bytes.
fn decoded(coding: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let program: &[&str] = match coding {
        "gzip" => &["gzip", "-dc"],
        "zstd" => &["curl", "-s", "--compressed"],
        _ => &["curl", "-s", "--compressed"],
    };
    if program[0] == "gzip" {
        let mut child = std::process::Command::new(program[0])
            .args(&program[1..])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()?;
        let (mut input, bytes) = (child.stdin.take(), bytes.to_vec());
        let writer = std::thread::spawn(move || input.as_mut().map(|i| std::io::Write::write_all(i, &bytes)));
        let mut out = Vec::new();
        child.stdout.take().map(|mut o| o.read_to_end(&mut out)).transpose()?;
        writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?.transpose()?;
        let status = child.wait()?;
        ensure!(status.success(), "{}: {status}", program[0]);
        return Ok(out);
    }
    // curl knows br and zstd; it is given the bytes as a server of the test's own would.
    let (coding, bytes) = (coding.to_owned(), bytes.to_vec());
    let server = lb_tests::http::backend::Backend::start(move |_| {
        Reply::new(&format!("200 OK\r\nContent-Encoding: {coding}"), &bytes)
    })?;
    let out = std::process::Command::new(program[0])
        .args(&program[1..])
        .arg(format!("http://{}/", server.address))
        .output()?;
    ensure!(out.status.success(), "curl: {}", out.status);
    Ok(out.stdout)
}

#[test]
fn the_best_coding_of_the_clients_is_chosen() -> Result<()> {
    let scene = scene("true")?;
    let cases = [
        ("gzip", Some("gzip")),
        ("br", Some("br")),
        ("zstd", Some("zstd")),
        ("gzip, br, zstd", Some("zstd")),
        ("gzip;q=1, br;q=0.9, zstd;q=0.8", Some("gzip")),
        ("gzip;q=0.5, br;q=0.5", Some("br")),
        ("*", Some("zstd")),
        ("gzip;q=0, *;q=0", None),
        ("identity", None),
        ("deflate", None),
        ("zstd;q=0, *", Some("br")),
        ("GZIP", Some("gzip")),
        ("", None),
    ];
    let plain = scene.get("/")?;
    ensure!(
        plain.body.len() == LONG && plain.field("content-encoding").is_none(),
        "without asking: {:?}",
        plain.fields
    );
    every(cases.map(|c| (format!("{:?}", c.0), c)), |(accept, want)| {
        let answer = scene.ask(get("/", &format!("Accept-Encoding: {accept}\r\n")))?;
        let coding = answer.field("content-encoding");
        ensure!(coding == want, "{coding:?} instead of {want:?}");
        ensure!(answer.all("vary").join(",").to_lowercase().contains("accept-encoding"), "{:?}", answer.fields);
        let Some(coding) = coding else {
            ensure!(answer.body == plain.body && answer.field("etag") == Some("\"v1\""), "{:?}", answer.fields);
            return Ok(());
        };
        ensure!(answer.body.len() < LONG / 4, "{} bytes", answer.body.len());
        ensure!(answer.field("etag") == Some("W/\"v1\""), "{:?}", answer.fields);
        ensure!(decoded(coding, &answer.body)? == plain.body, "another body comes out of {coding}");
        Ok(())
    })
}

#[test]
fn what_must_stay_as_it_is_stays() -> Result<()> {
    let scene = scene("true")?;
    every(["/png", "/short", "/coded", "/fixed", "/part"].map(|p| (p, p)), |path| {
        let answer = scene.ask(get(path, "Accept-Encoding: gzip, zstd\r\n"))?;
        let coding = answer.field("content-encoding").unwrap_or("none");
        ensure!(coding == if path == "/coded" { "x-mine" } else { "none" }, "{coding}");
        ensure!(answer.body.len() == if path == "/short" { 5 } else { LONG }, "{} bytes", answer.body.len());
        Ok(())
    })
}

#[test]
fn nothing_is_compressed_unless_told_and_only_as_told() -> Result<()> {
    let off = Scene::with("", "", |_| Reply::new("200 OK\r\nContent-Type: text/plain", "x".repeat(LONG)))?;
    let answer = off.ask(get("/", "Accept-Encoding: gzip\r\n"))?;
    ensure!(answer.field("content-encoding").is_none() && answer.body.len() == LONG, "{:?}", answer.fields);
    let gzip = scene("{ algorithms = [\"gzip\"], min_size = \"4\", types = [\"image/png\"] }")?;
    let ask = |path: &str| gzip.ask(get(path, "Accept-Encoding: zstd, br, gzip;q=0.1\r\n"));
    ensure!(ask("/png")?.field("content-encoding") == Some("gzip"), "a type that is named");
    ensure!(ask("/")?.field("content-encoding").is_none(), "a type that is not named");
    Ok(())
}

#[test]
fn events_are_not_held_back() -> Result<()> {
    let scene = scene("{ types = [\"text/event-stream\", \"text/*\"], min_size = \"1\" }")?;
    let mut client = scene.client()?;
    let start = lb_tests::clock::now();
    client.send(get("/events", "Accept-Encoding: gzip\r\n"))?;
    ensure!(client.head()?.status == 200, "no head");
    let first = client.some(Duration::from_secs(1))?;
    ensure!(
        !first.is_empty() && start.elapsed() < Duration::from_millis(1200),
        "the first event came after {:?}",
        start.elapsed()
    );
    Ok(())
}

#[test]
fn a_head_says_the_same_as_a_get() -> Result<()> {
    let scene = scene("true")?;
    let head = scene.ask("HEAD / HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: gzip\r\n\r\n")?;
    ensure!(head.status == 200 && head.body.is_empty(), "{head:?}");
    ensure!(head.all("vary").join(",").to_lowercase().contains("accept-encoding"), "{head:?}");
    Ok(())
}
