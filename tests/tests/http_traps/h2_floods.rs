//! Rows 6 and 7: HTTP/2 connections that cost more than they are worth are ended, and others do not notice.

use anyhow::{Result, ensure};
use lb_tests::http::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, Outcome, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, block, frame, get, integer,
};
use lb_tests::http::scene::{Scene, get as get_1};

use crate::h2_heads::h2c;

/// Writes `part(n)` until the other side gives up or `most` are out; gives how many were.
fn flood(frames: &mut Frames, most: u32, mut part: impl FnMut(u32) -> Vec<u8>) -> u32 {
    for n in 0..most {
        if frames.raw(&part(n)).is_err() {
            return n;
        }
    }
    most
}

/// The connection was ended with an error, or at least ended.
fn is_ended(frames: &mut Frames) -> Result<()> {
    let outcome = frames.given_up()?;
    ensure!(matches!(outcome, Outcome::GoAway(_) | Outcome::Closed), "{outcome:?}");
    Ok(())
}

fn others_are_served(scene: &Scene) -> Result<()> {
    let mut client = scene.client()?;
    ensure!(client.ask(get_1("/other", ""))?.status == 200, "another client is not served");
    let mut frames = Frames::clear(scene.front, &[])?;
    frames.request(1, &get("a.test", "/other"), true)?;
    ensure!(matches!(frames.outcome(1)?, Outcome::Answer(200, _)), "another client of HTTP/2 is not served");
    Ok(())
}

#[test]
fn row_6_rapid_resets_end_the_connection() -> Result<()> {
    let scene = h2c()?;
    let mut frames = Frames::clear(scene.front, &[])?;
    let head = block(&get("a.test", "/reset"));
    flood(&mut frames, 20_000, |n| {
        let stream = 2 * n + 1;
        let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        bytes
    });
    is_ended(&mut frames)?;
    ensure!(scene.backend.count() < 10_000, "the backend saw {} requests", scene.backend.count());
    others_are_served(&scene)
}

#[test]
fn row_6_a_few_resets_are_nothing() -> Result<()> {
    let scene = h2c()?;
    let mut frames = Frames::clear(scene.front, &[])?;
    for n in 0..10 {
        let stream = 2 * n + 1;
        frames.request(stream, &get("a.test", "/reset"), true)?;
        frames.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes())?;
    }
    frames.request(101, &get("a.test", "/stays"), true)?;
    ensure!(matches!(frames.outcome(101)?, Outcome::Answer(200, _)), "ten resets ended the connection");
    Ok(())
}

#[test]
fn row_6_resets_that_we_are_made_to_send_end_the_connection() -> Result<()> {
    for kind in ["window", "data"] {
        let scene = h2c()?;
        let mut frames = Frames::clear(scene.front, &[])?;
        let head = block(&get("a.test", "/reset"));
        flood(&mut frames, 20_000, |n| {
            let stream = 2 * n + 1;
            let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
            match kind {
                // An increment of 0 is a stream error (9113 §6.9), data after the end is one as well (§5.1).
                "window" => bytes.extend(frame(WINDOW_UPDATE, 0, stream, &[0; 4])),
                _ => bytes.extend(frame(DATA, 0, stream, b"x")),
            }
            bytes
        });
        is_ended(&mut frames)?;
        ensure!(scene.backend.count() < 10_000, "{kind}: the backend saw {} requests", scene.backend.count());
        others_are_served(&scene)?;
    }
    Ok(())
}

#[test]
fn row_7_continuations_without_end_end_the_connection() -> Result<()> {
    for size in [0, 1, 1000] {
        let scene = h2c()?;
        let mut frames = Frames::clear(scene.front, &[])?;
        frames.send(HEADERS, 0, 1, &block(&get("a.test", "/")))?;
        let part = block(&[(b"a", &vec![b'x'; size])]);
        let piece = if size == 0 { frame(CONTINUATION, 0, 1, &[]) } else { frame(CONTINUATION, 0, 1, &part) };
        let sent = flood(&mut frames, 200_000, |_| piece.repeat(20));
        ensure!(sent < 200_000, "{sent} times 20 continuations of {size} bytes were taken");
        others_are_served(&scene)?;
        ensure!(scene.backend.seen().iter().all(|s| s.target == "/other"), "{:?}", scene.backend.seen());
    }
    Ok(())
}

#[test]
fn row_7_a_head_that_unfolds_is_measured_unfolded() -> Result<()> {
    let scene = h2c()?;
    let before = scene.proxy.memory()?;
    let mut frames = Frames::clear(scene.front, &[])?;
    // One entry of 4,000 bytes into the table, then said again by one byte each (RFC 7541 §6.1): 16 MiB from 4 kB.
    let mut head = block(&get("a.test", "/bomb"));
    head.push(0x40);
    integer(&mut head, 7, 0, 1);
    head.push(b'a');
    integer(&mut head, 7, 0, 4000);
    head.extend(vec![b'x'; 4000]);
    head.extend(vec![0x80 | 62; 4000]);
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &head)?;
    let outcome = frames.outcome(1)?;
    ensure!(!matches!(outcome, Outcome::Answer(200..=299, _)), "{outcome:?}");
    ensure!(scene.backend.count() == 0, "the backend saw it");
    let grown = scene.proxy.memory()?.saturating_sub(before);
    ensure!(grown < 64 << 20, "{} MiB more memory", grown >> 20);
    others_are_served(&scene)
}

#[test]
fn row_7_heads_over_the_limits_get_431() -> Result<()> {
    let scene = h2c()?;
    let mut frames = Frames::clear(scene.front, &[])?;
    let mut fields = get("a.test", "/");
    let value = vec![b'x'; 15_000];
    fields.extend([(&b"a"[..], &value[..]), (b"b", &value), (b"c", &value)]);
    let head = block(&fields);
    let (first, rest) = head.split_at(16_000);
    frames.send(HEADERS, END_STREAM, 1, first)?;
    frames.send(CONTINUATION, 0, 1, &rest[..16_000])?;
    frames.send(CONTINUATION, END_HEADERS, 1, &rest[16_000..])?;
    let outcome = frames.outcome(1)?;
    ensure!(matches!(outcome, Outcome::Answer(431, _) | Outcome::Reset(_) | Outcome::GoAway(_)), "{outcome:?}");
    ensure!(scene.backend.count() == 0, "the backend saw it");
    let mut many = Frames::clear(scene.front, &[])?;
    let mut fields = get("a.test", "/");
    fields.extend(vec![(&b"a"[..], &b"b"[..]); 150]);
    many.request(1, &fields, true)?;
    let outcome = many.outcome(1)?;
    ensure!(matches!(outcome, Outcome::Answer(431, _)), "150 fields: {outcome:?}");
    others_are_served(&scene)
}

#[test]
fn row_7_floods_of_control_frames_end_the_connection_or_cost_nothing() -> Result<()> {
    let scene = h2c()?;
    let before = scene.proxy.memory()?;
    for (name, piece) in [("PING", frame(PING, 0, 0, &[0; 8])), ("SETTINGS", frame(SETTINGS, 0, 0, &[]))] {
        let mut frames = Frames::clear(scene.front, &[])?;
        frames.stream.tcp().set_write_timeout(Some(std::time::Duration::from_millis(500)))?;
        // Nothing is read, so that answers pile up somewhere; a side that stops reading does right.
        flood(&mut frames, 20_000, |_| piece.repeat(50));
        let grown = scene.proxy.memory()?.saturating_sub(before);
        ensure!(grown < 64 << 20, "{name}: {} MiB more memory", grown >> 20);
        others_are_served(&scene)?;
    }
    Ok(())
}

#[test]
fn row_7_no_more_streams_at_once_than_told() -> Result<()> {
    let scene = Scene::with("protocols = [\"h2c\"]\nlimits = { streams = 5 }", "", |_| {
        lb_tests::http::backend::Reply::ok("late").after(std::time::Duration::from_millis(500))
    })?;
    let mut frames = Frames::clear(scene.front, &[])?;
    let told = frames.receive()?;
    let most = told.as_ref().and_then(|f| {
        let of = f.payload.chunks(6).find(|c| c[..2] == [0, 3])?;
        Some(u32::from_be_bytes(of[2..6].try_into().ok()?))
    });
    ensure!(most == Some(5), "SETTINGS_MAX_CONCURRENT_STREAMS is {most:?}");
    for n in 0..20 {
        frames.request(2 * n + 1, &get("a.test", "/"), true)?;
    }
    let (mut refused, mut ended) = (0, 0);
    while refused + ended < 20 {
        match frames.receive()? {
            Some(f) if f.kind == RST_STREAM => refused += 1,
            Some(f) if f.kind == GOAWAY => break,
            Some(f) if f.flags & END_STREAM != 0 && f.kind <= HEADERS => ended += 1,
            Some(_) => {}
            None => break,
        }
    }
    ensure!(scene.backend.count() <= 5, "the backend saw {} at once", scene.backend.count());
    Ok(())
}
