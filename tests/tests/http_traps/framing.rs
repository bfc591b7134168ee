//! Rows 1 and 2: one message has one length, and nobody may read another one out of it.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::http::backend::Reply;
use lb_tests::http::echo;
use lb_tests::http::scene::{Scene, every, get};

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";

fn post(fields: &str, body: &str) -> String {
    format!("POST /p HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n{body}")
}

#[test]
fn row_1_a_request_with_both_lengths_is_never_forwarded_with_both() -> Result<()> {
    let scene = Scene::echo()?;
    let cases = [
        ("length first", post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", &format!("0\r\n\r\n{SMUGGLED}"))),
        ("coding first", post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", &format!("0\r\n\r\n{SMUGGLED}"))),
        (
            "length over all",
            post(
                &format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", 5 + SMUGGLED.len()),
                &format!("0\r\n\r\n{SMUGGLED}"),
            ),
        ),
        ("length 0", post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")),
    ];
    every(cases, |bytes| {
        let _ = scene.backend.forget();
        let mut client = scene.client()?;
        let answer = client.ask(&bytes)?;
        ensure!(matches!(answer.status, 200 | 400), "status {}", answer.status);
        let (_, rest) = client.ended(Duration::from_secs(5))?;
        ensure!(rest.is_empty(), "a second answer: {:?}", String::from_utf8_lossy(&rest));
        let seen = scene.backend.forget();
        ensure!(seen.len() == usize::from(answer.status == 200), "the backend saw {seen:?}");
        for s in seen {
            let lengths = (s.all("content-length").len(), s.all("transfer-encoding").len());
            ensure!(s.target == "/p" && lengths.0 + lengths.1 <= 1, "the backend saw {:?}", s.text());
        }
        ensure!(scene.get("/after")?.status == 200, "nothing is served afterwards");
        Ok(())
    })
}

#[test]
fn row_1_a_response_with_both_lengths_is_believed_in_one_way_and_its_connection_dropped() -> Result<()> {
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let scene =
        Scene::answering(move |seen| if seen.target == "/both" { Reply::raw(both) } else { echo::reply(seen) })?;
    let mut client = scene.client()?;
    let answer = client.ask(get("/both", ""))?;
    match answer.status {
        200 => {
            ensure!(answer.body == b"hello", "body {:?}", answer.text());
            let lengths = answer.all("content-length").len() + answer.all("transfer-encoding").len();
            ensure!(lengths <= 1, "the client got {:?}", answer.fields);
        }
        502 => answer.is_refusal(502, "bad_response")?,
        other => anyhow::bail!("status {other}"),
    }
    let next = scene.get("/next")?;
    ensure!(next.status == 200 && next.json()["target"] == "/next", "{next:?}");
    let seen = scene.backend.seen();
    let last = seen.last().map(|s| s.connection);
    ensure!(last != Some(seen[0].connection), "the connection that answered in two ways was used again");
    Ok(())
}

#[test]
fn row_2_a_transfer_coding_other_than_one_chunked_is_refused() -> Result<()> {
    let scene = Scene::echo()?;
    let body = "5\r\nhello\r\n0\r\n\r\n";
    let codings = [
        "chunked, chunked",
        "gzip, chunked",
        "chunked, gzip",
        "identity",
        "gzip",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "chunked, identity",
        "\"chunked\"",
        "",
        "\u{b}chunked",
    ];
    let mut cases: Vec<(String, String)> =
        codings.iter().map(|c| (format!("{c:?}"), post(&format!("Transfer-Encoding: {c}\r\n"), body))).collect();
    cases.push(("two lines".into(), post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", body)));
    cases.push(("two lines, gzip".into(), post("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", body)));
    every(cases, |bytes| scene.refuses(bytes, 400, "bad_request"))
}

#[test]
fn row_2_chunked_in_http_1_0_is_refused() -> Result<()> {
    let scene = Scene::echo()?;
    let bytes = "POST /p HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    scene.refuses(bytes, 400, "bad_request")
}

#[test]
fn row_2_chunked_is_chunked_whatever_its_case() -> Result<()> {
    let scene = Scene::echo()?;
    let answer = scene.ask(post("Transfer-Encoding: CHUNKED\r\n", "5\r\nhello\r\n3;a=b\r\nyou\r\n0\r\n\r\n"))?;
    ensure!(answer.status == 200, "status {}: {}", answer.status, answer.text());
    let seen = scene.backend.only()?;
    ensure!(seen.body == b"helloyou" && seen.complete, "the backend saw {seen:?}");
    ensure!(seen.all("transfer-encoding").len() + seen.all("content-length").len() == 1, "{:?}", seen.text());
    Ok(())
}

#[test]
fn row_2_differing_and_broken_lengths_are_refused() -> Result<()> {
    let scene = Scene::echo()?;
    let lengths = ["5, 6", "+5", "-5", "0x5", "5.0", "5;", "", "five", "99999999999999999999999", "5 5"];
    let mut cases: Vec<(String, String)> =
        lengths.iter().map(|n| (format!("{n:?}"), post(&format!("Content-Length: {n}\r\n"), "hello"))).collect();
    cases.push(("two lines".into(), post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!")));
    every(cases, |bytes| scene.refuses(bytes, 400, "bad_request"))
}

#[test]
fn row_2_one_length_said_twice_is_refused_or_said_once() -> Result<()> {
    let scene = Scene::echo()?;
    every(
        [
            ("two lines", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")),
            ("a list", post("Content-Length: 5, 5\r\n", "hello")),
        ],
        |bytes| {
            let _ = scene.backend.forget();
            let answer = scene.ask(&bytes)?;
            if answer.status == 400 {
                ensure!(scene.backend.count() == 0, "refused and forwarded");
                return answer.is_refusal(400, "bad_request");
            }
            let seen = scene.backend.only()?;
            ensure!(answer.status == 200 && seen.all("content-length") == ["5"], "{:?}", seen.text());
            Ok(())
        },
    )
}

#[test]
fn row_2_a_broken_chunk_never_completes_a_request() -> Result<()> {
    let scene = Scene::echo()?;
    let bodies = [
        ("hexadecimal prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("negative", "-5\r\nhello\r\n0\r\n\r\n"),
        ("plus", "+5\r\nhello\r\n0\r\n\r\n"),
        ("no size", "\r\nhello\r\n0\r\n\r\n"),
        ("overflow", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("data too long", "3\r\nhello\r\n0\r\n\r\n"),
        ("junk after the size", "5 x\r\nhello\r\n0\r\n\r\n"),
        ("LF alone in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        ("CR alone in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ];
    every(bodies, |body| {
        let _ = scene.backend.forget();
        let mut client = scene.client()?;
        let answer = client.ask(post("Transfer-Encoding: chunked\r\n", &format!("{body}{SMUGGLED}")))?;
        ensure!(answer.status == 400, "status {}", answer.status);
        client.ended(Duration::from_secs(5))?;
        let seen = scene.backend.seen();
        ensure!(!seen.iter().any(|s| s.complete), "the backend saw a whole request: {seen:?}");
        ensure!(scene.get("/after")?.json()["target"] == "/after", "nothing is served afterwards");
        Ok(())
    })
}

#[test]
fn row_2_a_body_that_stops_short_is_no_request() -> Result<()> {
    let scene = Scene::echo()?;
    every(
        [
            ("length", post("Content-Length: 10\r\n", "hello")),
            ("chunked", post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n")),
        ],
        |bytes| {
            let _ = scene.backend.forget();
            let mut client = scene.client()?;
            client.send(&bytes)?;
            client.stream.end();
            client.ended(Duration::from_secs(5))?;
            let seen = scene.backend.seen();
            ensure!(!seen.iter().any(|s| s.complete), "the backend saw a whole request: {seen:?}");
            ensure!(scene.get("/after")?.json()["target"] == "/after", "nothing is served afterwards");
            Ok(())
        },
    )
}

#[test]
fn a_chunked_body_without_end_is_limited() -> Result<()> {
    let scene = Scene::with("", "max_body = \"64KiB\"", echo::reply)?;
    let mut client = scene.client()?;
    let mut bytes = post("Transfer-Encoding: chunked\r\n", "");
    for _ in 0..40 {
        bytes.push_str(&format!("1000\r\n{}\r\n", "x".repeat(4096)));
    }
    let answer = client.ask(bytes)?;
    answer.is_refusal(413, "body_too_large")?;
    client.ended(Duration::from_secs(5))?;
    ensure!(!scene.backend.seen().iter().any(|s| s.complete), "the backend got a whole request");
    Ok(())
}
