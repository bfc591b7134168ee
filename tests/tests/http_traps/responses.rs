//! Rows 3 and 20, from the other side: backends that answer what is no HTTP, or more than they may.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::http::backend::Reply;
use lb_tests::http::echo;
use lb_tests::http::scene::{Scene, every, get};

fn scene(bytes: Vec<u8>) -> Result<Scene> {
    Scene::answering(move |seen| if seen.target == "/bad" { Reply::raw(bytes.clone()) } else { echo::reply(seen) })
}

#[test]
fn row_3_broken_responses_are_bad_responses() -> Result<()> {
    let field = |f: &str| format!("HTTP/1.1 200 OK\r\n{f}\r\nContent-Length: 2\r\n\r\nhi").into_bytes();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("obs-fold", field("A: b\r\n c")),
        ("CR in a value", field("A: b\rc")),
        ("NUL in a value", field("A: b\0c")),
        ("control in a value", field("A: b\x01c")),
        ("no colon", field("Abc")),
        ("no name", field(": b")),
        ("two lengths", field("Content-Length: 3")),
        ("a list of lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nhi!".to_vec()),
        ("a signed length", b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi".to_vec()),
        ("a length that is none", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhi".to_vec()),
        (
            "chunked twice",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n".to_vec(),
        ),
        ("gzip, chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n".to_vec()),
        ("no status", b"HTTP/1.1 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()),
        ("a long status", b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()),
        ("a status below 100", b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()),
        ("another protocol", b"ICY 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()),
        ("another version", b"HTTP/3.7 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()),
        ("no HTTP at all", b"hello\r\n\r\n".to_vec()),
        ("an SSH banner", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("an endless head", [b"HTTP/1.1 200 OK\r\nA: ".to_vec(), vec![b'a'; 2 << 20]].concat()),
    ];
    every(cases, |bytes| {
        let scene = scene(bytes)?;
        let mut client = scene.client()?;
        let answer = client.ask(get("/bad", ""))?;
        answer.is_refusal(502, "bad_response")?;
        let next = scene.get("/next")?;
        ensure!(next.status == 200 && next.json()["target"] == "/next", "afterwards: {next:?}");
        let seen = scene.backend.seen();
        let bad = seen.iter().find(|s| s.target == "/bad").map(|s| s.connection);
        let next = seen.iter().find(|s| s.target == "/next").map(|s| s.connection);
        ensure!(bad != next, "the connection was used again");
        Ok(())
    })
}

#[test]
fn row_3_a_space_before_a_responses_colon_is_removed_or_refused() -> Result<()> {
    let scene = scene(b"HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 2\r\n\r\nhi".to_vec())?;
    let answer = scene.get("/bad")?;
    match answer.status {
        200 => ensure!(answer.field("a") == Some("b") && answer.body == b"hi", "{answer:?}"),
        _ => answer.is_refusal(502, "bad_response")?,
    }
    Ok(())
}

#[test]
fn row_20_a_response_without_body_has_none() -> Result<()> {
    let cases = [
        ("204 with a body", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", 204),
        (
            "204 chunked",
            "GET",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            204,
        ),
        ("304 with a body", "GET", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\nhello", 304),
        ("HEAD with a body", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200),
        ("HEAD chunked", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200),
    ];
    every(cases.map(|(name, method, bytes, status)| (name, (method, bytes, status))), |(method, bytes, status)| {
        let scene = scene(bytes.into())?;
        let mut client = scene.client()?;
        let answer = client.ask(format!("{method} /bad HTTP/1.1\r\nHost: a.test\r\n\r\n"))?;
        ensure!(answer.status == status, "status {}", answer.status);
        // What the backend said too much must be no answer to anything, here or elsewhere.
        let next = client.ask(get("/next", ""))?;
        ensure!(next.status == 200 && next.json()["target"] == "/next", "the next answer is {next:?}");
        let other = scene.get("/other")?;
        ensure!(other.json()["target"] == "/other", "another client's answer is {other:?}");
        Ok(())
    })
}

#[test]
fn row_20_a_head_keeps_its_length_without_its_body() -> Result<()> {
    let scene = scene(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n".to_vec())?;
    let mut client = scene.client()?;
    let answer = client.ask("HEAD /bad HTTP/1.1\r\nHost: a.test\r\n\r\n")?;
    ensure!(answer.status == 200 && answer.field("content-length") == Some("5"), "{answer:?}");
    ensure!(client.ask(get("/next", ""))?.json()["target"] == "/next", "the connection is of no use afterwards");
    Ok(())
}

#[test]
fn row_20_surplus_bytes_answer_nobody() -> Result<()> {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi{poison}");
    for late in [false, true] {
        let (all, first, rest) = (bytes.clone(), bytes.replace(poison, ""), poison.to_owned());
        let scene = Scene::answering(move |seen| match (seen.target.as_str(), late) {
            ("/bad", false) => Reply::raw(all.clone()),
            ("/bad", true) => Reply::raw(first.clone()).and(Duration::from_millis(200), rest.clone()),
            _ => echo::reply(seen),
        })?;
        let mut client = scene.client()?;
        ensure!(client.ask(get("/bad", ""))?.body == b"hi", "the first answer");
        if late {
            lb_tests::clock::pass(Duration::from_millis(500));
        }
        for path in ["/1", "/2", "/3"] {
            let next = client.ask(get(path, ""))?;
            ensure!(next.json()["target"] == path, "late {late}: {path} was answered by {:?}", next.text());
        }
    }
    Ok(())
}

#[test]
fn row_20_a_body_until_the_end_of_the_connection_is_whole() -> Result<()> {
    let scene = Scene::answering(|_| {
        Reply::raw("HTTP/1.0 200 OK\r\n\r\nhello")
            .and(Duration::from_millis(200), " you")
            .then(lb_tests::http::backend::Then::Close)
    })?;
    let answer = scene.get("/")?;
    ensure!(answer.status == 200 && answer.body == b"hello you" && !answer.cut, "{answer:?}");
    ensure!(answer.version == "HTTP/1.1", "{}", answer.version);
    Ok(())
}

#[test]
fn row_20_a_body_cut_short_is_seen_to_be() -> Result<()> {
    every(
        [
            ("length", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"),
            ("chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        ],
        |bytes| {
            let scene = Scene::answering(move |_| Reply::raw(bytes).then(lb_tests::http::backend::Then::Close))?;
            // The connection may end before a byte of it, too.
            if let Ok(answer) = scene.get("/") {
                ensure!(answer.cut || answer.status == 502, "a cut body looks whole: {answer:?}");
            }
            ensure!(scene.backend.count() == 1, "the backend was asked {} times", scene.backend.count());
            Ok(())
        },
    )
}
