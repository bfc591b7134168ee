//! Chromium without a screen: a page of fifty assets over HTTP/2, and a WebSocket, from one front.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_tests::clock;
use lb_tests::http::backend::{Backend, Reply, Seen, Then};

use crate::site::{NAME, Site};

const ASSETS: usize = 50;

/// The page says in its title how many assets came and what the WebSocket answered.
fn page() -> String {
    let tags: String = (0..ASSETS).map(|n| format!("<script src=\"/asset/{n}.js\"></script>")).collect();
    format!(
        "<!doctype html><title>loading</title><script>window.got = 0;</script><body>{tags}<script>\
         const ws = new WebSocket(location.origin.replace('http', 'ws') + '/ws');\
         ws.onopen = () => ws.send('hello');\
         ws.onmessage = m => {{ document.title = 'assets=' + window.got + ' ws=' + m.data; ws.close(); }};\
         ws.onerror = () => {{ document.title = 'assets=' + window.got + ' ws=failed'; }};\
         </script><script src=\"/late.js\"></script></body>"
    )
}

/// The accept key of RFC 6455 §4.2.2, by OpenSSL's command so that no code of ours is in question.
fn accept(key: &str) -> String {
    let script = format!("printf %s '{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11' | openssl sha1 -binary | base64");
    let out = Command::new("sh").args(["-c", &script]).output();
    out.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}

fn answer(seen: &Seen) -> Reply {
    if let Some(key) = seen.field("sec-websocket-key") {
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            accept(key)
        );
        // A text frame of the server's, once the client has had time to open.
        return Reply::raw(head).and(Duration::from_millis(300), b"\x81\x05hello".to_vec()).then(Then::Hang);
    }
    match seen.target.as_str() {
        "/" => Reply::new("200 OK\r\nContent-Type: text/html", page()),
        // The browser is done when the page is loaded: this keeps it loading while the WebSocket talks.
        "/late.js" => Reply::new("200 OK\r\nContent-Type: text/javascript", "0;").after(Duration::from_secs(3)),
        path if path.starts_with("/asset/") => {
            Reply::new("200 OK\r\nContent-Type: text/javascript", "window.got += 1;")
        }
        _ => Reply::new("404 Not Found", ""),
    }
}

#[test]
fn a_page_of_fifty_assets_and_a_websocket() -> Result<()> {
    let backend = Backend::start(answer)?;
    let site = Site::new(backend.address, "", "")?;
    let profile = tempfile::tempdir()?;
    let url = format!("https://{NAME}:{}/", site.secure.port());
    let log = profile.path().join("netlog.json");
    let mut child = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--ignore-certificate-errors"])
        .args(["--no-first-run", "--disable-background-networking", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--log-net-log={}", log.display()))
        .arg(&url)
        .env("HOME", profile.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .context("chromium is missing: cargo xtask setup")?;
    let ended = clock::until("chromium ends", Duration::from_secs(60), || Ok(child.try_wait()?));
    if ended.is_err() {
        let _ = child.kill();
    }
    let out = child.wait_with_output()?;
    ended?;
    let dom = String::from_utf8_lossy(&out.stdout).into_owned();
    ensure!(dom.contains(&format!("<title>assets={ASSETS} ws=hello</title>")), "{}", &dom[..dom.len().min(300)]);
    let lines = site.proxy.access_lines(ASSETS + 2)?;
    let over_2 = lines.iter().filter(|l| l["protocol"] == "HTTP/2" && l["status"] == 200 && l["path"] != "/ws").count();
    // The page, its assets, and what kept it loading; the WebSocket comes over HTTP/2 as well if the browser likes
    // (RFC 8441), and an icon that is not there is asked for by the browser itself.
    ensure!(over_2 == ASSETS + 2, "{over_2} requests over HTTP/2: {lines:?}");
    ensure!(backend.seen().iter().any(|s| s.field("upgrade").is_some()), "no WebSocket at the backend");
    Ok(())
}
