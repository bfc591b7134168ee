//! Row 4, and row 5 over HTTP/2: heads that HTTP/2 can say and HTTP/1 must never be told.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::http::echo;
use lb_tests::http::frames::{DATA, END_STREAM, Frames, Outcome, get};
use lb_tests::http::scene::{Scene, every};

type Field = (&'static [u8], &'static [u8]);

pub(crate) fn h2c() -> Result<Scene> {
    Scene::with("protocols = [\"h1\", \"h2c\"]", "", echo::reply)
}

fn plain() -> Vec<Field> {
    vec![(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/h2")]
}

fn with(field: Field) -> Vec<Field> {
    let mut fields = plain();
    fields.push(field);
    fields
}

fn instead(field: Field) -> Vec<Field> {
    plain().into_iter().map(|f| if f.0 == field.0 { field } else { f }).collect()
}

fn without(name: &[u8]) -> Vec<Field> {
    plain().into_iter().filter(|f| f.0 != name).collect()
}

/// Refused on a connection of its own, and nothing at the backend.
fn refused(scene: &Scene, fields: &[Field]) -> Result<()> {
    let before = scene.backend.count();
    let mut frames = Frames::clear(scene.front, &[])?;
    frames.request(1, fields, true)?;
    let outcome = frames.outcome(1)?;
    ensure!(!matches!(outcome, Outcome::Answer(status, _) if status / 100 != 4), "{outcome:?}");
    ensure!(scene.backend.count() == before, "the backend saw {:?}", scene.backend.seen()[before..].first());
    Ok(())
}

fn control(scene: &Scene) -> Result<()> {
    let before = scene.backend.count();
    let mut frames = Frames::clear(scene.front, &[])?;
    frames.request(1, &plain(), true)?;
    let outcome = frames.outcome(1)?;
    ensure!(matches!(outcome, Outcome::Answer(200, _)), "a good request: {outcome:?}");
    ensure!(scene.backend.count() == before + 1, "a good request did not reach the backend");
    Ok(())
}

#[test]
fn row_4_fields_that_would_change_an_http_1_message_are_refused() -> Result<()> {
    let scene = h2c()?;
    control(&scene)?;
    let cases: Vec<(&str, Vec<Field>)> = vec![
        ("CRLF in a value", with((b"a", b"b\r\nx-smuggled: 1"))),
        ("LF in a value", with((b"a", b"b\nx-smuggled: 1"))),
        ("CR in a value", with((b"a", b"b\rc"))),
        ("NUL in a value", with((b"a", b"b\0c"))),
        ("space before a value", with((b"a", b" b"))),
        ("tab after a value", with((b"a", b"b\t"))),
        ("CRLF in a name", with((b"a: b\r\nx", b"c"))),
        ("colon in a name", with((b"a:b", b"c"))),
        ("space in a name", with((b"a b", b"c"))),
        ("upper case", with((b"Aa", b"b"))),
        ("empty name", with((b"", b"b"))),
        ("connection", with((b"connection", b"close"))),
        ("keep-alive", with((b"keep-alive", b"timeout=5"))),
        ("proxy-connection", with((b"proxy-connection", b"close"))),
        ("transfer-encoding", with((b"transfer-encoding", b"chunked"))),
        ("upgrade", with((b"upgrade", b"h2c"))),
        ("te other than trailers", with((b"te", b"gzip"))),
        ("a length without a body", with((b"content-length", b"5"))),
        ("two lengths", [with((b"content-length", b"0")), vec![(&b"content-length"[..], &b"1"[..])]].concat()),
        ("a length that is none", with((b"content-length", b"+0"))),
        ("host that differs", with((b"host", b"b.test"))),
        ("two hosts", [with((b"host", b"a.test")), vec![(&b"host"[..], &b"b.test"[..])]].concat()),
    ];
    every(cases, |fields| refused(&scene, &fields))?;
    control(&scene)
}

#[test]
fn row_4_pseudo_fields_that_are_none_are_refused() -> Result<()> {
    let scene = h2c()?;
    let mut late = without(b":path");
    late.extend([(&b"a"[..], &b"b"[..]), (&b":path"[..], &b"/h2"[..])]);
    let cases: Vec<(&str, Vec<Field>)> = vec![
        ("no method", without(b":method")),
        ("no scheme", without(b":scheme")),
        ("no path", without(b":path")),
        ("no host at all", without(b":authority")),
        ("two methods", with((b":method", b"POST"))),
        ("two paths", with((b":path", b"/other"))),
        ("two authorities", with((b":authority", b"b.test"))),
        ("unknown", with((b":foo", b"bar"))),
        ("of a response", with((b":status", b"200"))),
        ("after a field", late),
        ("empty path", instead((b":path", b""))),
        ("a path that is none", instead((b":path", b"h2"))),
        ("an absolute path", instead((b":path", b"http://b.test/"))),
        ("a star for GET", instead((b":path", b"*"))),
        ("space in the path", instead((b":path", b"/a b"))),
        ("request line in the path", instead((b":path", b"/ HTTP/1.1\r\nx: y"))),
        ("NUL in the path", instead((b":path", b"/a\0b"))),
        ("%2f in the path", instead((b":path", b"/a%2fb"))),
        ("space in the method", instead((b":method", b"GET /x HTTP/1.1"))),
        ("empty method", instead((b":method", b""))),
        ("junk in the authority", instead((b":authority", b"a.test/x"))),
        ("user in the authority", instead((b":authority", b"u@a.test"))),
        ("empty authority", instead((b":authority", b""))),
        ("a scheme that is none", instead((b":scheme", b"http://x"))),
        ("CONNECT", vec![(&b":method"[..], &b"CONNECT"[..]), (&b":authority"[..], &b"a.test:80"[..])]),
        (
            "extended CONNECT to another protocol",
            [instead((b":method", b"CONNECT")), vec![(&b":protocol"[..], &b"foo"[..])]].concat(),
        ),
    ];
    every(cases, |fields| refused(&scene, &fields))?;
    control(&scene)
}

/// The HTTP/2 library cuts a fragment off before anybody sees it; what matters is that it is cut for all: what is matched is
/// what is forwarded.
#[test]
fn row_4_a_fragment_goes_no_further() -> Result<()> {
    let scene = h2c()?;
    let mut frames = Frames::clear(scene.front, &[])?;
    frames.request(1, &instead((b":path", b"/a#b")), true)?;
    let outcome = frames.outcome(1)?;
    if matches!(outcome, Outcome::Answer(200, _)) {
        let seen = scene.backend.only()?;
        ensure!(seen.target == "/a" && !seen.text().contains('#'), "{:?}", seen.text());
    } else {
        ensure!(scene.backend.count() == 0, "{outcome:?}, and the backend saw {:?}", scene.backend.seen());
    }
    control(&scene)
}

#[test]
fn row_4_what_is_allowed_reaches_the_backend_as_http_1() -> Result<()> {
    let scene = h2c()?;
    let mut fields = plain();
    fields.extend([
        (&b"te"[..], &b"trailers"[..]),
        (b"host", b"a.test"),
        (b"cookie", b"a=b"),
        (b"cookie", b"c=d"),
        (b"x", b""),
    ]);
    let mut frames = Frames::clear(scene.front, &[])?;
    frames.request(1, &fields, true)?;
    ensure!(matches!(frames.outcome(1)?, Outcome::Answer(200, _)), "refused");
    let seen = scene.backend.only()?;
    ensure!(seen.version == "HTTP/1.1" && seen.target == "/h2" && seen.all("host") == ["a.test"], "{:?}", seen.text());
    ensure!(seen.all("cookie") == ["a=b; c=d"], "cookies are one field in HTTP/1 (9113 §8.2.3): {:?}", seen.text());
    ensure!(!seen.text().contains("\r\n:"), "{:?}", seen.text());
    Ok(())
}

#[test]
fn row_4_a_body_is_as_long_as_it_says() -> Result<()> {
    let scene = h2c()?;
    let posting = |length: &'static [u8]| {
        let mut fields = instead((b":method", b"POST"));
        fields.push((b"content-length", length));
        fields
    };
    every([("short", (&b"10"[..], "hello")), ("long", (b"3", "hello"))], |(length, body)| {
        let mut frames = Frames::clear(scene.front, &[])?;
        frames.request(1, &posting(length), false)?;
        frames.send(DATA, END_STREAM, 1, body.as_bytes())?;
        let outcome = frames.outcome(1)?;
        ensure!(!matches!(outcome, Outcome::Answer(200..=299, _)), "{outcome:?}");
        lb_tests::clock::pass(Duration::from_millis(200));
        ensure!(!scene.backend.seen().iter().any(|s| s.complete), "the backend saw {:?}", scene.backend.seen());
        Ok(())
    })?;
    let mut frames = Frames::clear(scene.front, &[])?;
    frames.request(1, &posting(b"5"), false)?;
    frames.send(DATA, END_STREAM, 1, b"hello")?;
    ensure!(matches!(frames.outcome(1)?, Outcome::Answer(200, _)), "a good body is refused");
    ensure!(scene.backend.seen().last().is_some_and(|s| s.body == b"hello"), "{:?}", scene.backend.seen());
    Ok(())
}

#[test]
fn h2c_is_not_spoken_unless_named() -> Result<()> {
    let scene = Scene::echo()?;
    let mut frames = Frames::clear(scene.front, &[])?;
    frames.request(1, &get("a.test", "/"), true)?;
    let first = frames.receive();
    ensure!(!matches!(&first, Ok(Some(f)) if f.kind == lb_tests::http::frames::SETTINGS), "{first:?}");
    ensure!(scene.backend.count() == 0 && scene.get("/")?.status == 200, "{:?}", scene.backend.seen());
    Ok(())
}
