//! Rows 10 and 19: fields that are for one connection, and fields that come too late.

use anyhow::{Result, ensure};
use lb_tests::http::backend::Reply;
use lb_tests::http::scene::{Scene, every, get};

#[test]
fn row_10_fields_of_one_connection_are_not_passed_on() -> Result<()> {
    let scene = Scene::echo()?;
    let fields = "Connection: keep-alive, X-Mine, close\r\nX-Mine: secret\r\nKeep-Alive: timeout=5\r\n\
                  Proxy-Connection: keep-alive\r\nTE: trailers, deflate\r\nUpgrade: foo\r\nX-Other: stays\r\n";
    let answer = scene.ask(get("/", fields))?;
    ensure!(answer.status == 200, "status {}: {}", answer.status, answer.text());
    let seen = scene.backend.only()?;
    for gone in ["x-mine", "keep-alive", "proxy-connection", "upgrade"] {
        ensure!(seen.field(gone).is_none(), "{gone} came through: {:?}", seen.text());
    }
    ensure!(!seen.all("connection").iter().any(|v| v.contains("X-Mine") || v.contains("close")), "{:?}", seen.text());
    ensure!(seen.all("te").iter().all(|v| *v == "trailers"), "{:?}", seen.text());
    ensure!(seen.field("x-other") == Some("stays"), "{:?}", seen.text());
    Ok(())
}

#[test]
fn row_10_a_client_cannot_have_fields_of_ours_removed() -> Result<()> {
    let scene = Scene::echo()?;
    let fields =
        ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "X-Request-Id", "Via", "Host"];
    every(fields.map(|f| (f, f)), |field| {
        let _ = scene.backend.forget();
        let answer = scene.ask(get("/", &format!("Connection: close, {field}\r\n")))?;
        if answer.status == 400 {
            return answer.is_refusal(400, "bad_request");
        }
        let seen = scene.backend.only()?;
        ensure!(seen.all(field).len() == 1, "{field} is gone: {:?}", seen.text());
        Ok(())
    })?;
    let length = scene.ask(
        "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close, Content-Length\r\nContent-Length: 5\r\n\r\nhello",
    )?;
    ensure!(length.status == 400 || length.json()["length"] == 5, "{}", length.text());
    Ok(())
}

#[test]
fn row_10_authorization_and_cookies_cannot_be_nominated_away() -> Result<()> {
    let scene = Scene::echo()?;
    let fields = "Connection: Authorization, Cookie\r\nAuthorization: Basic abc\r\nCookie: a=b\r\n";
    let answer = scene.ask(get("/", fields))?;
    if answer.status == 400 {
        return answer.is_refusal(400, "bad_request");
    }
    let seen = scene.backend.only()?;
    ensure!(
        seen.field("authorization") == Some("Basic abc") && seen.field("cookie") == Some("a=b"),
        "{:?}",
        seen.text()
    );
    Ok(())
}

#[test]
fn row_10_a_responses_fields_of_one_connection_are_not_passed_on() -> Result<()> {
    let head = "200 OK\r\nConnection: X-Mine, keep-alive\r\nX-Mine: secret\r\nKeep-Alive: timeout=5\r\n\
                Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nServer: acme/1.0\r\nX-Powered-By: acme\r\nX-Other: stays";
    let scene = Scene::answering(move |_| Reply::new(head, "hi"))?;
    let answer = scene.get("/")?;
    ensure!(answer.status == 200 && answer.body == b"hi", "{answer:?}");
    for gone in ["x-mine", "keep-alive", "proxy-connection", "upgrade", "server", "x-powered-by"] {
        ensure!(answer.field(gone).is_none(), "{gone} came through: {:?}", answer.fields);
    }
    ensure!(answer.field("x-other") == Some("stays") && answer.field("x-request-id").is_some(), "{:?}", answer.fields);
    Ok(())
}

#[test]
fn row_19_trailers_never_become_fields() -> Result<()> {
    let scene = Scene::echo()?;
    let late = [
        "Authorization: Basic abc",
        "Host: evil.test",
        "Content-Length: 7",
        "Transfer-Encoding: gzip",
        "Cookie: a=b",
        "X-Forwarded-For: 6.6.6.6",
        "Connection: close",
        "X-Request-Id: 1",
        "Te: gzip",
    ];
    every(late.map(|l| (l, l)), |line| {
        let _ = scene.backend.forget();
        let bytes = format!(
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{line}\r\n\r\n"
        );
        let mut client = scene.client()?;
        let answer = client.ask(bytes)?;
        if answer.status == 400 {
            ensure!(!scene.backend.seen().iter().any(|s| s.complete), "refused and forwarded");
            return Ok(());
        }
        ensure!(answer.status == 200, "status {}", answer.status);
        let seen = scene.backend.only()?;
        let (name, value) = line.split_once(": ").unwrap_or_default();
        ensure!(seen.trailers.is_empty(), "the trailer came through: {:?}", seen.trailers);
        ensure!(!seen.all(name).contains(&value), "the trailer became a field: {:?}", seen.text());
        ensure!(seen.body == b"hello", "body {:?}", seen.body);
        Ok(())
    })
}

#[test]
fn row_19_a_responses_trailers_never_become_fields() -> Result<()> {
    let bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\n\
                 Set-Cookie: a=b\r\nContent-Length: 3\r\nLocation: /x\r\n\r\n";
    let scene = Scene::answering(move |_| Reply::raw(bytes))?;
    let answer = scene.ask(get("/", "TE: trailers\r\n"))?;
    ensure!(answer.status == 200 && answer.body == b"hello", "{answer:?}");
    for name in ["set-cookie", "content-length", "location"] {
        let (late, early) = (answer.trailers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name)), answer.field(name));
        ensure!(!late && early.is_none(), "{name}: {:?} {:?}", answer.fields, answer.trailers);
    }
    Ok(())
}
