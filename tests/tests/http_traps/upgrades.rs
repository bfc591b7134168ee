//! Row 18: a connection becomes a tunnel only when both sides said so, for a protocol that the route names.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::http::backend::{Reply, Seen, Then};
use lb_tests::http::echo;
use lb_tests::http::scene::{Scene, every, get};

const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn switching(seen: &Seen) -> Reply {
    if seen.field("upgrade").is_some() { Reply::raw(SWITCH).then(Then::Echo) } else { echo::reply(seen) }
}

#[test]
fn row_18_a_websocket_passes_bytes_both_ways_after_101() -> Result<()> {
    let scene = Scene::with("", "", switching)?;
    let mut client = scene.client()?;
    let answer = client.ask(get("/ws", WEBSOCKET))?;
    ensure!(answer.status == 101, "{answer:?}");
    ensure!(answer.field("upgrade").is_some_and(|u| u.eq_ignore_ascii_case("websocket")), "{:?}", answer.fields);
    ensure!(answer.field("sec-websocket-accept") == Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{:?}", answer.fields);
    for bytes in [&b"\x81\x85\0\0\0\0hello"[..], b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n", b"\0\xff"] {
        client.send(bytes)?;
        let mut got = Vec::new();
        while got.len() < bytes.len() {
            let more = client.some(Duration::from_secs(5))?;
            ensure!(!more.is_empty(), "the tunnel gave {got:?}");
            got.extend(more);
        }
        ensure!(got == bytes, "{got:?}");
    }
    ensure!(scene.backend.only()?.field("sec-websocket-key").is_some(), "the key is gone");
    client.stream.end();
    client.ended(Duration::from_secs(5))?;
    Ok(())
}

#[test]
fn row_18_bytes_sent_before_the_101_are_not_a_tunnel_if_none_comes() -> Result<()> {
    let scene = Scene::with("", "", echo::reply)?;
    let mut client = scene.client()?;
    let answer = client.ask(get("/ws", WEBSOCKET))?;
    ensure!(answer.status == 200, "{answer:?}");
    let next = client.ask(get("/next", ""));
    if let Ok(next) = next {
        ensure!(next.json()["target"] == "/next", "{next:?}");
    }
    ensure!(scene.get("/after")?.status == 200, "nothing is served afterwards");
    Ok(())
}

#[test]
fn row_18_a_101_nobody_asked_for_is_a_bad_response() -> Result<()> {
    let scene = Scene::answering(|_| Reply::raw(SWITCH).then(Then::Echo))?;
    scene.get("/")?.is_refusal(502, "bad_response")
}

#[test]
fn row_18_a_101_to_another_protocol_is_a_bad_response() -> Result<()> {
    let scene = Scene::answering(|_| Reply::raw(SWITCH.replace("websocket", "h2c")).then(Then::Echo))?;
    scene.ask(get("/", WEBSOCKET))?.is_refusal(502, "bad_response")
}

#[test]
fn row_18_h2c_and_what_is_not_named_is_not_upgraded_to() -> Result<()> {
    let scene = Scene::with("", "", switching)?;
    let settings = "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n";
    every(
        [
            ("h2c", format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n{settings}")),
            (
                "h2c beside websocket",
                format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: websocket, h2c\r\n{settings}"),
            ),
            ("h2c first", format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c, websocket\r\n{settings}")),
            (
                "in a second line",
                format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n{settings}"),
            ),
            ("unknown", "Connection: Upgrade\r\nUpgrade: foo/1\r\n".to_owned()),
            ("TLS", "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n".to_owned()),
        ],
        |fields| {
            let _ = scene.backend.forget();
            let answer = scene.ask(get("/", &fields))?;
            ensure!(matches!(answer.status, 101 | 200 | 400 | 403), "status {}", answer.status);
            for seen in scene.backend.seen() {
                let upgrade = seen.all("upgrade").join(",").to_lowercase();
                ensure!(matches!(upgrade.as_str(), "" | "websocket"), "the backend saw {:?}", seen.text());
                ensure!(seen.field("http2-settings").is_none(), "the backend saw {:?}", seen.text());
            }
            let switched = answer.field("upgrade").unwrap_or_default().to_lowercase();
            ensure!(answer.status != 101 || switched == "websocket", "switched to {switched:?}");
            ensure!(answer.status != 101 || fields.contains("websocket"), "a tunnel for {fields:?}");
            Ok(())
        },
    )?;
    ensure!(scene.ask(get("/", WEBSOCKET))?.status == 101, "a WebSocket is not upgraded");
    Ok(())
}

#[test]
fn row_18_a_route_may_forbid_them_all() -> Result<()> {
    let scene = Scene::with("", "upgrade = []", switching)?;
    let answer = scene.ask(get("/", WEBSOCKET))?;
    ensure!(matches!(answer.status, 200 | 403), "status {}", answer.status);
    ensure!(scene.backend.seen().iter().all(|s| s.field("upgrade").is_none()), "{:?}", scene.backend.seen());
    ensure!(scene.get("/")?.status == 200, "a good request is not served");
    Ok(())
}

#[test]
fn row_18_http_1_0_is_not_upgraded() -> Result<()> {
    let scene = Scene::with("", "", switching)?;
    let answer = scene.ask(format!("GET / HTTP/1.0\r\nHost: a.test\r\n{WEBSOCKET}\r\n"))?;
    ensure!(matches!(answer.status, 200 | 400 | 403), "status {}", answer.status);
    ensure!(scene.backend.seen().iter().all(|s| s.field("upgrade").is_none()), "{:?}", scene.backend.seen());
    Ok(())
}
