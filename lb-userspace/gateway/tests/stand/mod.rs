//! A gateway with a backend behind it, on loopback, and a client that sends bytes as given.
#![allow(dead_code, reason = "each suite uses a part of the stand")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lb_gateway::{Gateway, GatewayOptions, HttpPlan, MemberPlan, MemberState, PoolPlan};
use lb_model::http::{HttpPool, Listener, Route, Target};
use lb_model::{AccessLog, Host, Name};

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// A port of loopback that was free a moment ago.
pub(crate) fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address")
}

/// Answers each request of HTTP/1 with what `answer` makes of the raw request; keeps what it saw.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Vec<u8>>>>,
    pub(crate) connections: Arc<AtomicU64>,
}

impl Backend {
    pub(crate) fn start(answer: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicU64::new(0));
        let (answer, kept, count) = (Arc::new(answer), Arc::clone(&seen), Arc::clone(&connections));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::Relaxed);
                let (answer, kept) = (Arc::clone(&answer), Arc::clone(&kept));
                std::thread::spawn(move || {
                    let mut stream = stream.expect("a connection");
                    let mut input = Vec::new();
                    while let Some(request) = take_message(&mut stream, &mut input) {
                        let text = answer(&request);
                        kept.lock().expect("no panic").push(request);
                        if stream.write_all(&text).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, seen, connections }
    }

    /// 200 with the request as its body.
    pub(crate) fn echo() -> Self {
        Self::start(|request| response("200 OK", "x-from: backend\r\n", request))
    }

    pub(crate) fn last(&self) -> String {
        let seen = self.seen.lock().expect("no panic");
        String::from_utf8_lossy(seen.last().expect("a request")).into_owned()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().expect("no panic").len()
    }
}

pub(crate) fn response(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n\r\n", body.len()).into_bytes();
    out.extend_from_slice(body);
    out
}

/// One message off a connection: head, and a body by Content-Length or chunked (kept as it came).
pub(crate) fn take_message(stream: &mut impl Read, input: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut chunk = [0; 16 << 10];
    loop {
        if let Some(length) = whole(input) {
            return Some(input.drain(..length).collect());
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(n) => input.extend_from_slice(&chunk[..n]),
        }
    }
}

fn whole(input: &[u8]) -> Option<usize> {
    let head = input.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&input[..head]).to_ascii_lowercase();
    if text.contains("\r\ntransfer-encoding: chunked\r\n") {
        let end = input[head..].windows(5).position(|w| w == b"0\r\n\r\n")?;
        return Some(head + end + 5);
    }
    let length =
        text.split("\r\ncontent-length: ").nth(1).and_then(|t| t.split("\r\n").next()?.parse().ok()).unwrap_or(0);
    (input.len() >= head + length).then_some(head + length)
}

pub(crate) struct Stand {
    pub(crate) gateway: Gateway,
    pub(crate) address: SocketAddr,
    pub(crate) plan: HttpPlan,
    pub(crate) log: PathBuf,
    folder: tempfile::TempDir,
}

pub(crate) fn pool(of: &str, backends: &[SocketAddr]) -> PoolPlan {
    let member = |address: &SocketAddr| MemberPlan {
        configured: (*address).into(),
        address: *address,
        weight: 1,
        backup: false,
        eligible: true,
        state: MemberState::Up,
    };
    PoolPlan {
        name: name(of),
        http: HttpPool::default(),
        maglev_table_size: 65_537,
        members: backends.iter().map(member).collect(),
    }
}

impl Stand {
    /// One clear listener `edge`, one route `all` to one pool `web`.
    pub(crate) fn new(backend: SocketAddr) -> Self {
        Self::with(backend, |_| {})
    }

    pub(crate) fn with(backend: SocketAddr, change: impl FnOnce(&mut HttpPlan)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("access.log");
        let host = Host { access_log: AccessLog::File(log.clone()), ..Host::default() };
        let options =
            GatewayOptions { host, state_dir: folder.path().join("state"), workers: 2, inherited: Vec::new() };
        let address = free();
        let mut plan = HttpPlan {
            listeners: BTreeMap::from([(name("edge"), Arc::new(Listener::new(name("edge"), address)))]),
            routes: vec![Arc::new(Route::new(name("all"), Target::Pool(name("web"))))],
            pools: BTreeMap::from([(name("web"), Arc::new(pool("web", &[backend])))]),
        };
        change(&mut plan);
        let mut gateway = Gateway::start(options).expect("a gateway");
        gateway.apply(plan.clone()).expect("a plan");
        Self { gateway, address, plan, log, folder }
    }

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut HttpPlan)) {
        change(&mut self.plan);
        self.gateway.apply(self.plan.clone()).expect("a plan");
    }

    pub(crate) fn client(&self) -> Client {
        Client::to(self.address)
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

pub(crate) fn route(plan: &mut HttpPlan) -> &mut Route {
    Arc::make_mut(&mut plan.routes[0])
}

pub(crate) fn listener(plan: &mut HttpPlan) -> &mut Listener {
    Arc::make_mut(plan.listeners.get_mut("edge").expect("the listener"))
}

/// Sends bytes, reads messages.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        Self { stream, input: Vec::new() }
    }

    pub(crate) fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).expect("sent");
    }

    /// The next response; empty: the connection was closed.
    pub(crate) fn read(&mut self) -> String {
        let message = take_message(&mut self.stream, &mut self.input).unwrap_or_default();
        String::from_utf8_lossy(&message).into_owned()
    }

    pub(crate) fn ask(&mut self, text: impl AsRef<[u8]>) -> String {
        self.send(text);
        self.read()
    }

    /// Everything until the connection is closed.
    pub(crate) fn rest(&mut self) -> String {
        let mut all = std::mem::take(&mut self.input);
        let _reset = self.stream.read_to_end(&mut all);
        String::from_utf8_lossy(&all).into_owned()
    }

    pub(crate) fn is_closed(&mut self) -> bool {
        self.input.is_empty() && matches!(self.stream.read(&mut [0; 1]), Ok(0) | Err(_))
    }
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = std::time::Duration::from_millis(10);
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        std::thread::park_timeout(until);
    }
    panic!("it did not come to be: {what}");
}
