//! Row 3, and what the best here let pass: request heads that are not HTTP.

use anyhow::{Result, ensure};
use lb_tests::http::echo;
use lb_tests::http::scene::{Scene, every, get};

#[test]
fn row_3_heads_that_are_no_heads_are_refused() -> Result<()> {
    let scene = Scene::echo()?;
    let with = |field: &str| get("/", field).into_bytes();
    let mut cases: Vec<(&str, Vec<u8>)> = vec![
        ("obs-fold", with("A: b\r\n c\r\n")),
        ("obs-fold by a tab", with("A: b\r\n\tc\r\n")),
        ("fold after the request line", b"GET / HTTP/1.1\r\n Host: a.test\r\n\r\n".to_vec()),
        ("space before the colon", with("A : b\r\n")),
        ("tab before the colon", with("A\t: b\r\n")),
        (
            "space before Content-Length's colon",
            b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length : 5\r\n\r\nhello".to_vec(),
        ),
        ("CR in a value", with("A: b\rc\r\n")),
        ("CR in a name", with("A\rB: c\r\n")),
        ("NUL in a value", with("A: b\0c\r\n")),
        ("NUL in a name", with("A\0: c\r\n")),
        ("control in a value", with("A: b\x01c\r\n")),
        ("DEL in a value", with("A: b\x7fc\r\n")),
        ("no colon", with("Abc\r\n")),
        ("no name", with(": b\r\n")),
        ("a name with a bracket", with("A(b): c\r\n")),
        ("CR in the target", b"GET /a\rb HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec()),
        ("NUL in the target", b"GET /a\0b HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec()),
        ("space in the target", b"GET /a b HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec()),
        ("control in the target", b"GET /a\x01b HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec()),
        ("a tab after the method", b"GET\t/ HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec()),
        ("a method that is no token", b"G@T / HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec()),
        ("no target", b"GET HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec()),
        ("a target that is no path", b"GET abc HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec()),
        ("a fragment", b"GET /a#b HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec()),
        ("a backslash", b"GET /a\\b HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec()),
        ("two spaces", b"GET /  HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec()),
        ("HTTP in lower case", b"GET / http/1.1\r\nHost: a.test\r\n\r\n".to_vec()),
        ("a long version", b"GET / HTTP/1.10\r\nHost: a.test\r\n\r\n".to_vec()),
    ];
    cases.push(("TLS where clear text is spoken", [&[0x16, 3, 1, 0, 5][..], b"hello\r\n\r\n"].concat()));
    every(cases, |bytes| scene.refuses(bytes, 400, "bad_request"))
}

#[test]
fn http_0_9_is_not_spoken() -> Result<()> {
    let scene = Scene::echo()?;
    every([("GET /", "GET /\r\n\r\n"), ("HTTP/0.9", "GET / HTTP/0.9\r\nHost: a.test\r\n\r\n")], |bytes| {
        let mut client = scene.client()?;
        let answer = client.ask(bytes)?;
        ensure!(matches!(answer.status, 400 | 505), "status {}", answer.status);
        ensure!(answer.version == "HTTP/1.1" && answer.field("x-request-id").is_some(), "{answer:?}");
        client.ended(std::time::Duration::from_secs(5))?;
        ensure!(scene.backend.count() == 0, "the backend saw {:?}", scene.backend.seen());
        Ok(())
    })?;
    ensure!(scene.get("/")?.status == 200, "a good request is not served");
    Ok(())
}

#[test]
fn another_major_version_is_refused() -> Result<()> {
    let scene = Scene::echo()?;
    every(
        [("2.0", "GET / HTTP/2.0\r\nHost: a.test\r\n\r\n"), ("3.0", "GET / HTTP/3.0\r\nHost: a.test\r\n\r\n")],
        |b| {
            let answer = scene.ask(b)?;
            ensure!(matches!(answer.status, 400 | 505), "status {}", answer.status);
            ensure!(scene.backend.count() == 0, "the backend saw {:?}", scene.backend.seen());
            Ok(())
        },
    )?;
    ensure!(scene.get("/")?.status == 200, "a good request is not served");
    Ok(())
}

#[test]
fn row_3_what_reaches_the_backend_has_whole_line_ends_only() -> Result<()> {
    let scene = Scene::echo()?;
    // Lines that end in LF alone may be taken (9112 §2.2), but not passed on so.
    let answer = scene.ask("GET /lf HTTP/1.1\nHost: a.test\nA: b\n\n");
    if let Ok(answer) = answer {
        ensure!(matches!(answer.status, 200 | 400), "status {}", answer.status);
    }
    ensure!(scene.get("/whole")?.status == 200, "a good request is not served");
    for seen in scene.backend.seen() {
        let text = seen.text();
        ensure!(!text.replace("\r\n", "").contains(['\r', '\n']), "the backend saw {text:?}");
    }
    Ok(())
}

#[test]
fn row_12_underscores_in_names_do_not_reach_a_backend() -> Result<()> {
    let scene = Scene::echo()?;
    every(
        [("forwarded", "X_Forwarded_For: 6.6.6.6\r\n"), ("length", "Content_Length: 5\r\n"), ("any", "A_b: c\r\n")],
        |field| {
            let _ = scene.backend.forget();
            let answer = scene.ask(get("/", field))?;
            match answer.status {
                400 => ensure!(scene.backend.count() == 0, "refused and forwarded"),
                200 => ensure!(!scene.backend.only()?.text().contains('_'), "{:?}", scene.backend.only()?.text()),
                other => anyhow::bail!("status {other}"),
            }
            Ok(())
        },
    )?;
    let dashed = scene.ask(get("/", "A-b: c\r\n"))?;
    ensure!(dashed.status == 200 && dashed.text().contains("a-b") || dashed.text().contains("A-b"), "{dashed:?}");
    Ok(())
}

#[test]
fn connect_and_trace_are_not_allowed() -> Result<()> {
    let scene = Scene::with("", "", echo::reply)?;
    every(
        [
            ("CONNECT", "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n"),
            ("CONNECT to a path", "CONNECT / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
            ("TRACE", "TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ],
        |bytes| {
            let answer = scene.ask(bytes)?;
            ensure!(
                answer.status == 405 || (answer.status == 400 && bytes.contains("T / ")),
                "status {}",
                answer.status
            );
            ensure!(scene.backend.count() == 0, "the backend saw {:?}", scene.backend.seen());
            Ok(())
        },
    )?;
    scene.ask("TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n")?.is_refusal(405, "method_not_allowed")?;
    ensure!(scene.ask("OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n")?.status < 500, "OPTIONS * fails");
    Ok(())
}

#[test]
fn requests_in_one_packet_are_answered_in_turn() -> Result<()> {
    let scene = Scene::echo()?;
    let mut client = scene.client()?;
    client.send([get("/1", ""), get("/2", ""), get("/3", "")].concat())?;
    for path in ["/1", "/2", "/3"] {
        let answer = client.answer(false)?;
        ensure!(answer.json()["target"] == path, "{path}: {}", answer.text());
    }
    Ok(())
}
