//! Heads and bodies without end, and floods of resets: refused while they come, at bounded memory, and others do not notice.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use lb_tests::clock;
use lb_tests::http::echo;
use lb_tests::http::frames::{END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, block, frame, get as pseudo};
use lb_tests::http::scene::{Scene, get};

use crate::witness::Witness;

const MIB: u64 = 1 << 20;

/// Sends `part` until nobody takes it any more or `most` bytes are out; gives how many were.
fn pour(client: &mut lb_tests::http::client::Client, part: &[u8], most: u64) -> u64 {
    let mut sent = 0;
    while sent < most && client.send(part).is_ok() {
        sent += part.len() as u64;
    }
    sent
}

/// Does it again and again for two seconds.
fn again(mut attack: impl FnMut() -> Result<()>) -> Result<()> {
    let start = clock::now();
    while start.elapsed() < Duration::from_secs(2) {
        attack()?;
    }
    Ok(())
}

fn bounded(scene: &Scene, before: u64) -> Result<()> {
    let grown = scene.proxy.memory()?.saturating_sub(before);
    ensure!(grown < 64 * MIB, "{} MiB more memory", grown / MIB);
    ensure!(scene.ask(get("/after", ""))?.status == 200, "nothing is served afterwards");
    Ok(())
}

#[test]
fn a_head_of_100_mib_is_refused_while_it_comes() -> Result<()> {
    let _alone = crate::alone();
    let scene = Scene::echo()?;
    let witness = Witness::new(scene.front)?;
    let before = scene.proxy.memory()?;
    witness.during(|| {
        again(|| {
            for (begin, part) in [
                ("GET / HTTP/1.1\r\nHost: a.test\r\nA: ", vec![b'x'; 1 << 16]),
                ("GET / HTTP/1.1\r\nHost: a.test\r\n", b"A: b\r\n".repeat(10_000)),
                ("GET /", vec![b'p'; 1 << 16]),
            ] {
                for _ in 0..5 {
                    let mut client = scene.client()?;
                    client.send(begin)?;
                    let sent = pour(&mut client, &part, 100 * MIB);
                    ensure!(sent < 32 * MIB, "{} MiB of {begin:?} were taken", sent / MIB);
                }
            }
            Ok(())
        })
    })?;
    ensure!(scene.backend.seen().iter().all(|s| s.target != "/"), "a head without end reached the backend");
    bounded(&scene, before)
}

#[test]
fn a_body_of_10_gib_is_refused_where_bodies_are_limited() -> Result<()> {
    let _alone = crate::alone();
    let scene = Scene::with("", "max_body = \"1MiB\"", echo::reply)?;
    let witness = Witness::new(scene.front)?;
    let before = scene.proxy.memory()?;
    witness.during(|| {
        again(|| {
            let mut told = scene.client()?;
            told.send("POST /told HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10737418240\r\n\r\n")?;
            told.answer(false)?.is_refusal(413, "body_too_large")?;
            let sent = pour(&mut told, &[0; 1 << 16], 10 << 30);
            ensure!(sent < 64 * MIB, "{} MiB were taken after the refusal", sent / MIB);
            let mut chunked = scene.client()?;
            chunked.send("POST /chunked HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            let chunk = [b"10000\r\n".to_vec(), vec![0; 1 << 16], b"\r\n".to_vec()].concat();
            let sent = pour(&mut chunked, &chunk, 10 << 30);
            ensure!(sent < 64 * MIB, "{} MiB of chunks were taken", sent / MIB);
            Ok(())
        })
    })?;
    let seen = scene.backend.seen();
    ensure!(!seen.iter().any(|s| s.complete && s.target != "/witness"), "the backend got a whole request");
    bounded(&scene, before)
}

#[test]
fn rapid_resets_slow_nobody_down() -> Result<()> {
    let _alone = crate::alone();
    let scene = Scene::with("protocols = [\"h1\", \"h2c\"]", "", echo::reply)?;
    let witness = Witness::new(scene.front)?;
    let before = scene.proxy.memory()?;
    let (stop, floods) = (AtomicBool::new(false), AtomicU64::new(0));
    let head = block(&pseudo("a.test", "/reset"));
    witness.during(|| {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let Ok(mut frames) = Frames::clear(scene.front, &[]) else { continue };
                        for n in 0..2_000_u32 {
                            let stream = 2 * n + 1;
                            let reset = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
                            let both = [frame(HEADERS, END_HEADERS | END_STREAM, stream, &head), reset].concat();
                            if stop.load(Ordering::Relaxed) || frames.raw(&both).is_err() {
                                break;
                            }
                        }
                        floods.fetch_add(1, Ordering::Relaxed);
                        clock::pass(Duration::from_millis(20));
                    }
                });
            }
            clock::pass(Duration::from_secs(4));
            stop.store(true, Ordering::Relaxed);
        });
        Ok(())
    })?;
    ensure!(floods.load(Ordering::Relaxed) > 4, "connections were not ended: {floods:?} floods");
    bounded(&scene, before)
}
