//! A backend that records every byte it gets and answers with the bytes it is told to.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::ServerConfig;

use super::parse::{self, Body, Fields};
use super::stream::{Read1, Stream};
use crate::clock;

/// One request as it came.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Which of the backend's connections it came on, from 0.
    pub connection: usize,
    /// Which request of that connection, from 0.
    pub turn: usize,
    /// The head's bytes, the empty line included.
    pub head: Vec<u8>,
    pub method: String,
    pub target: String,
    pub version: String,
    pub fields: Fields,
    /// The body without its chunks.
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// It came whole; if not, `body` has the bytes that did, chunks included.
    pub complete: bool,
}

impl Seen {
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        parse::values(&self.fields, name).collect()
    }
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.head).into_owned()
    }
}

/// What follows an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    #[default]
    Keep,
    Close,
    /// Every byte is sent back, until the other side ends.
    Echo,
    /// Nothing, until the other side ends.
    Hang,
}

/// An answer: bytes, each part after a pause.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    parts: Vec<(Duration, Vec<u8>)>,
    then: Then,
}

impl Reply {
    /// Exactly these bytes.
    #[must_use]
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { parts: vec![(Duration::ZERO, bytes.into())], then: Then::Keep }
    }
    /// A whole answer: `head` is the status and field lines without the last end of line, the length is added.
    #[must_use]
    pub fn new(head: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut bytes = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        Self::raw(bytes)
    }
    #[must_use]
    pub fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::new("200 OK\r\nContent-Type: text/plain", body)
    }
    /// Not a byte, and the connection stays.
    #[must_use]
    pub fn never() -> Self {
        Self { parts: Vec::new(), then: Then::Hang }
    }
    /// Not a byte, and the connection ends.
    #[must_use]
    pub fn close() -> Self {
        Self { parts: Vec::new(), then: Then::Close }
    }
    #[must_use]
    pub fn after(mut self, pause: Duration) -> Self {
        self.parts.insert(0, (pause, Vec::new()));
        self
    }
    #[must_use]
    pub fn and(mut self, pause: Duration, bytes: impl Into<Vec<u8>>) -> Self {
        self.parts.push((pause, bytes.into()));
        self
    }
    #[must_use]
    pub fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }
}

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

struct State {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    /// Connections that the other side ended while an answer was being waited for or sent.
    abandoned: AtomicUsize,
    stop: AtomicBool,
    handler: Box<Handler>,
    tls: Option<Arc<ServerConfig>>,
}

/// Ends, with its connections, when dropped.
pub struct Backend {
    pub address: SocketAddr,
    state: Arc<State>,
    accepting: Option<std::thread::JoinHandle<()>>,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Backend {
    /// Answers each request with what `handler` says.
    ///
    /// # Errors
    /// If there is no port.
    pub fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Result<Self> {
        Self::listen(SocketAddr::from(([127, 0, 0, 1], 0)), None, Box::new(handler))
    }
    /// The same at a given address.
    ///
    /// # Errors
    /// If that is taken.
    pub fn start_at(at: SocketAddr, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Result<Self> {
        Self::listen(at, None, Box::new(handler))
    }
    /// The same over TLS.
    ///
    /// # Errors
    /// If there is no port.
    pub fn start_tls(
        config: Arc<ServerConfig>,
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::listen(SocketAddr::from(([127, 0, 0, 1], 0)), Some(config), Box::new(handler))
    }

    fn listen(at: SocketAddr, tls: Option<Arc<ServerConfig>>, handler: Box<Handler>) -> Result<Self> {
        let listener = TcpListener::bind(at).with_context(|| format!("a backend at {at}"))?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            handler,
            tls,
        });
        let of_thread = Arc::clone(&state);
        let accepting = Some(std::thread::spawn(move || accept(&listener, &of_thread)));
        Ok(Self { address, state, accepting })
    }

    /// Every request so far, whole or not.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    #[must_use]
    pub fn forget(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
    #[must_use]
    pub fn count(&self) -> usize {
        self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }
    /// Connections ended by the other side before their answer was.
    #[must_use]
    pub fn abandoned(&self) -> usize {
        self.state.abandoned.load(Ordering::Relaxed)
    }

    /// The only request so far.
    ///
    /// # Errors
    /// If there are none or several.
    pub fn only(&self) -> Result<Seen> {
        let mut seen = self.seen();
        anyhow::ensure!(seen.len() == 1, "the backend saw {} requests: {seen:?}", seen.len());
        Ok(seen.remove(0))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for tcp in listener.incoming() {
        if state.stop.load(Ordering::Relaxed) {
            return;
        }
        let Ok(tcp) = tcp else { continue };
        let number = state.connections.fetch_add(1, Ordering::Relaxed);
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            let _ = tcp.set_nodelay(true);
            let stream = match &state.tls {
                None => Stream::Clear(tcp),
                Some(config) => match Stream::accept_tls(tcp, config) {
                    Ok(stream) => stream,
                    Err(_) => return,
                },
            };
            Connection { stream, buffer: Vec::new(), number, state }.serve();
        });
    }
}

struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
    number: usize,
    state: Arc<State>,
}

impl Connection {
    fn serve(&mut self) {
        for turn in 0.. {
            let Some(seen) = self.request(turn) else { return };
            let complete = seen.complete;
            let reply = (self.state.handler)(&seen);
            self.record(seen);
            if !complete || !self.reply(reply) {
                return;
            }
        }
    }

    fn record(&self, seen: Seen) {
        self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    }

    /// One read of at most 50 ms, so that the end of the test is noticed; `None` at the end.
    fn more(&mut self) -> Option<Read1> {
        if self.state.stop.load(Ordering::Relaxed) {
            return None;
        }
        self.stream.read_by(clock::now() + Duration::from_millis(50), &mut self.buffer).ok()
    }

    fn request(&mut self, turn: usize) -> Option<Seen> {
        loop {
            if let Some(end) = parse::head_end(&self.buffer) {
                return self.body(turn, end);
            }
            match self.more()? {
                Read1::Bytes(_) | Read1::Late => {}
                Read1::End | Read1::Reset => {
                    if !self.buffer.is_empty() {
                        let head = std::mem::take(&mut self.buffer);
                        self.record(Seen { connection: self.number, turn, head, ..Seen::default() });
                    }
                    return None;
                }
            }
        }
    }

    fn body(&mut self, turn: usize, end: usize) -> Option<Seen> {
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let (line, fields) = parse::head(&head).unwrap_or_default();
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        let (method, target, version) = (words.next()?, words.next()?, words.next().unwrap_or_default());
        let mut seen = Seen { connection: self.number, turn, head, method, target, version, ..Seen::default() };
        if parse::values(&fields, "expect").next().is_some() && self.buffer.is_empty() {
            let _ = self.stream.send(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        seen.fields = fields;
        loop {
            match parse::request_body(&seen.fields, &self.buffer) {
                Ok(Body::Whole(body, trailers, taken)) => {
                    self.buffer.drain(..taken);
                    (seen.body, seen.trailers, seen.complete) = (body, trailers, true);
                    return Some(seen);
                }
                Ok(Body::Short) => {}
                Err(_) => break,
            }
            match self.more()? {
                Read1::Bytes(_) | Read1::Late => {}
                Read1::End | Read1::Reset => break,
            }
        }
        seen.body = std::mem::take(&mut self.buffer);
        Some(seen)
    }

    /// Sends it; false if the connection is over.
    fn reply(&mut self, reply: Reply) -> bool {
        for (pause, bytes) in reply.parts {
            if !self.wait(pause) || self.stream.send(&bytes).is_err() {
                self.state.abandoned.fetch_add(1, Ordering::Relaxed);
                return false;
            }
        }
        match reply.then {
            Then::Keep => true,
            Then::Close => {
                self.stream.end();
                false
            }
            Then::Hang => {
                while self.wait(Duration::from_secs(1)) {}
                self.state.abandoned.fetch_add(1, Ordering::Relaxed);
                false
            }
            Then::Echo => {
                self.echo();
                false
            }
        }
    }

    /// Waits; false if the other side ends meanwhile.
    fn wait(&mut self, pause: Duration) -> bool {
        let by = clock::now() + pause;
        while clock::now() < by {
            let step = by.min(clock::now() + Duration::from_millis(50));
            match self.stream.read_by(step, &mut self.buffer) {
                Ok(Read1::Bytes(_) | Read1::Late) if !self.state.stop.load(Ordering::Relaxed) => {}
                _ => return false,
            }
        }
        true
    }

    fn echo(&mut self) {
        loop {
            let bytes = std::mem::take(&mut self.buffer);
            if !bytes.is_empty() && self.stream.send(&bytes).is_err() {
                return;
            }
            match self.more() {
                Some(Read1::Bytes(_) | Read1::Late) => {}
                _ => {
                    self.stream.end();
                    return;
                }
            }
        }
    }
}
