//! Clients that ask without end: HTTP/1 on kept connections, HTTP/2, WebSockets that echo. Every failure is kept in words.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lb_tests::clock;
use lb_tests::http::client::Client;
use lb_tests::http::frames::{Frames, Outcome, get as pseudo};
use lb_tests::http::scene::get;
use rustls::ClientConfig;

/// Whom the clients ask.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) front: SocketAddr,
    pub(crate) name: &'static str,
    pub(crate) h1: Arc<ClientConfig>,
    pub(crate) h2: Arc<ClientConfig>,
}

#[derive(Debug, Default)]
struct State {
    stop: AtomicBool,
    answered: AtomicU64,
    /// Requests that were lost with a connection that was just being closed, and answered on the next one (9112 §9.3.1).
    repeated: AtomicU64,
    failures: Mutex<Vec<String>>,
}

pub(crate) struct Load {
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(3);

impl Load {
    /// So many clients of each kind.
    pub(crate) fn start(target: &Target, h1: usize, h2: usize, websockets: usize) -> Self {
        let state = Arc::new(State::default());
        let mut threads = Vec::new();
        for (count, kind, run) in [
            (h1, "HTTP/1", over_1 as fn(&Target, &State) -> Result<()>),
            (h2, "HTTP/2", over_2),
            (websockets, "WebSocket", echoing),
        ] {
            for _ in 0..count {
                let (target, state) = (target.clone(), Arc::clone(&state));
                threads.push(std::thread::spawn(move || {
                    while !state.stop.load(Ordering::Relaxed) {
                        if let Err(e) = run(&target, &state) {
                            state.fail(format!("{kind}: {e:#}"));
                            clock::pass(Duration::from_millis(50));
                        }
                    }
                }));
            }
        }
        Self { state, threads }
    }

    pub(crate) fn answered(&self) -> u64 {
        self.state.answered.load(Ordering::Relaxed)
    }
    pub(crate) fn repeated(&self) -> u64 {
        self.state.repeated.load(Ordering::Relaxed)
    }
    pub(crate) fn failures(&self) -> Vec<String> {
        self.state.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// No request failed so far; `when` says in an error what was being done.
    pub(crate) fn is_well(&self, when: &str) -> Result<()> {
        let failures = self.failures();
        ensure!(failures.is_empty(), "{when}: {} failed: {:?}", failures.len(), &failures[..failures.len().min(5)]);
        Ok(())
    }

    /// Ends it and gives how many were answered.
    pub(crate) fn stop(mut self) -> u64 {
        self.state.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.answered()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
    }
}

impl State {
    fn fail(&self, what: String) {
        if !self.stop.load(Ordering::Relaxed) {
            self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        }
    }
    fn goes_on(&self) -> bool {
        clock::pass(PAUSE);
        !self.stop.load(Ordering::Relaxed)
    }
    fn answer(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// One connection of HTTP/1, until it is told to close.
fn over_1(target: &Target, state: &State) -> Result<()> {
    let mut client = Client::tls(target.front, target.name, &target.h1).context("connect")?;
    let request = get("/load", "").replace("a.test", target.name);
    let mut asked = 0;
    while state.goes_on() {
        client.send(&request).ok();
        let answer = match client.answer(false) {
            Ok(answer) => answer,
            // An idle connection may be closed while the next request is on its way; that one is asked again.
            Err(e) if asked > 0 && format!("{e:#}").contains("no answer (") => {
                state.repeated.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        ensure!(answer.status == 200 && !answer.cut, "status {}: {}", answer.status, answer.text());
        state.answer();
        asked += 1;
        if answer.field("connection").is_some_and(|c| c.eq_ignore_ascii_case("close")) {
            return Ok(());
        }
    }
    Ok(())
}

/// One connection of HTTP/2, until it is told to go away.
fn over_2(target: &Target, state: &State) -> Result<()> {
    let mut frames = Frames::tls(target.front, target.name, &target.h2, &[]).context("connect")?;
    let mut stream = 1;
    while state.goes_on() {
        let mut fields = pseudo(target.name, "/load");
        fields[1].1 = b"https";
        frames.request(stream, &fields, true).ok();
        match frames.outcome(stream)? {
            Outcome::Answer(200, _) => state.answer(),
            // A stream above the last one that GOAWAY names was not looked at, and may be asked anew (9113 §6.8).
            Outcome::Closed | Outcome::GoAway(0) if frames.leaving.is_some_and(|last| last < stream) => {
                state.repeated.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            other => bail!("{other:?} for stream {stream}, going away after {:?}", frames.leaving),
        }
        if frames.leaving.is_some() {
            return Ok(());
        }
        stream += 2;
    }
    Ok(())
}

/// One WebSocket, until it is closed with a reason.
fn echoing(target: &Target, state: &State) -> Result<()> {
    let mut client = Client::tls(target.front, target.name, &target.h1).context("connect")?;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let answer = client.ask(get("/ws", upgrade).replace("a.test", target.name))?;
    ensure!(answer.status == 101, "status {} to an upgrade", answer.status);
    for turn in 0_u32.. {
        if !state.goes_on() {
            break;
        }
        let frame = [&[0x81, 0x84, 0, 0, 0, 0][..], &turn.to_be_bytes()].concat();
        client.send(&frame).ok();
        let mut got = Vec::new();
        while got.len() < frame.len() {
            let more = client.some(Duration::from_secs(10))?;
            ensure!(!more.is_empty(), "the tunnel ended after {turn} turns without a close frame, got {got:x?}");
            got.extend(more);
            // 1001 or 1012: the server is going away, and says so.
            if got.first() == Some(&0x88) && got.len() >= 4 {
                return Ok(());
            }
        }
        ensure!(got == frame, "turn {turn}: {got:x?}");
        state.answer();
    }
    Ok(())
}
