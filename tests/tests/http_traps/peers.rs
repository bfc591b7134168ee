//! Row 13: whose word is taken for where a request came from.

use anyhow::{Result, ensure};
use lb_tests::http::backend::Seen;
use lb_tests::http::echo;
use lb_tests::http::scene::{Scene, every, get};

const CLAIMS: &str = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\n\
                      X-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6;proto=https\r\nX-Request-Id: mine\r\nVia: 1.1 evil\r\n";

fn last(scene: &Scene) -> Result<Seen> {
    scene.backend.forget().pop().ok_or_else(|| anyhow::anyhow!("the backend saw nothing"))
}

#[test]
fn row_13_an_untrusted_peers_claims_are_dropped() -> Result<()> {
    let scene = Scene::echo()?;
    let answer = scene.ask(get("/", CLAIMS))?;
    ensure!(answer.status == 200, "{answer:?}");
    let seen = last(&scene)?;
    ensure!(!seen.text().contains("6.6.6.6") && !seen.text().contains("evil"), "{:?}", seen.text());
    ensure!(seen.all("x-forwarded-for") == ["127.0.0.1"], "{:?}", seen.text());
    ensure!(
        seen.all("x-forwarded-proto") == ["http"] && seen.all("x-forwarded-host") == ["a.test"],
        "{:?}",
        seen.text()
    );
    ensure!(seen.field("x-real-ip").is_none() && seen.all("forwarded").len() == 1, "{:?}", seen.text());
    let id = seen.field("x-request-id").unwrap_or_default();
    ensure!(!id.is_empty() && id != "mine" && answer.field("x-request-id") == Some(id), "id {id:?}");
    ensure!(seen.field("via").is_some_and(|v| v.contains("1.1")), "{:?}", seen.text());
    ensure!(scene.proxy.access_lines(1)?[0]["client"] == "127.0.0.1", "{:?}", scene.proxy.access()?);
    Ok(())
}

#[test]
fn row_13_spellings_of_claims_are_dropped_too() -> Result<()> {
    let scene = Scene::echo()?;
    let spelled = [
        "x-forwarded-for: 6.6.6.6",
        "X-FORWARDED-FOR: 6.6.6.6",
        "X-Forwarded-For:6.6.6.6",
        "X_Forwarded_For: 6.6.6.6",
        "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: 6.6.6.6",
    ];
    every(spelled.map(|s| (s, s)), |field| {
        let answer = scene.ask(get("/", &format!("{field}\r\n")))?;
        if answer.status == 400 {
            return Ok(());
        }
        let seen = last(&scene)?;
        ensure!(!seen.text().contains("6.6.6.6"), "{:?}", seen.text());
        Ok(())
    })
}

#[test]
fn row_13_a_trusted_peers_claims_are_kept_and_added_to() -> Result<()> {
    let scene = Scene::with("trusted_proxies = [\"127.0.0.0/8\"]", "", echo::reply)?;
    let claims = "X-Forwarded-For: 6.6.6.6, 203.0.113.7, 127.0.0.9\r\nX-Forwarded-Proto: https\r\n\
                  X-Forwarded-Host: www.test\r\nX-Request-Id: abc-123\r\n";
    let answer = scene.ask(get("/", claims))?;
    let seen = last(&scene)?;
    ensure!(
        seen.all("x-forwarded-for").join(", ") == "6.6.6.6, 203.0.113.7, 127.0.0.9, 127.0.0.1",
        "{:?}",
        seen.text()
    );
    ensure!(
        seen.all("x-forwarded-proto") == ["https"] && seen.all("x-forwarded-host") == ["www.test"],
        "{:?}",
        seen.text()
    );
    ensure!(seen.all("x-request-id") == ["abc-123"] && answer.field("x-request-id") == Some("abc-123"), "{answer:?}");
    // From the right, the first that is not trusted.
    let line = &scene.proxy.access_lines(1)?[0];
    ensure!(line["client"] == "203.0.113.7" && line["request_id"] == "abc-123", "{line}");
    Ok(())
}

#[test]
fn row_13_junk_from_a_trusted_peer_is_no_address() -> Result<()> {
    let scene = Scene::with("trusted_proxies = [\"127.0.0.0/8\"]", "", echo::reply)?;
    let junk = ["unknown", "_hidden", "1.2.3.4.5", "<script>", "", ",,,", "203.0.113.7, junk", "203.0.113.7, 1.2.3"];
    every(junk.map(|j| (j, j)), |value| {
        let before = scene.proxy.access()?.len();
        let answer = scene.ask(get("/", &format!("X-Forwarded-For: {value}\r\n")))?;
        ensure!(matches!(answer.status, 200 | 400), "{answer:?}");
        let line = scene.proxy.access_lines(before + 1)?.pop().unwrap_or_default();
        let client = line["client"].as_str().unwrap_or_default();
        // What cannot be read ends the walk: nothing left of it is believed.
        ensure!(client == "127.0.0.1", "the client is {client:?}");
        Ok(())
    })?;
    let before = scene.proxy.access()?.len();
    scene.ask(get("/", "X-Forwarded-For: junk, 203.0.113.7\r\n"))?;
    let line = scene.proxy.access_lines(before + 1)?.pop().unwrap_or_default();
    ensure!(line["client"] == "203.0.113.7", "{line}");
    Ok(())
}

#[test]
fn row_13_an_id_from_a_trusted_peer_is_kept_only_if_it_is_harmless() -> Result<()> {
    let scene = Scene::with("trusted_proxies = [\"127.0.0.0/8\"]", "", echo::reply)?;
    let long = "x".repeat(5000);
    every([("quotes", "a\"b"), ("spaces", "a b"), ("long", &long), ("bidi", "a\u{202e}b"), ("markup", "<b>")], |id| {
        let answer = scene.ask(get("/", &format!("X-Request-Id: {id}\r\n")))?;
        ensure!(answer.status == 200 && answer.field("x-request-id") != Some(id), "{:?}", answer.fields);
        Ok(())
    })
}
