//! Backends that do what a test says, and a worker to reach them from.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use lb_message::Body;
use lb_model::Name;
use lb_model::http::{HttpPool, Retry, RouteTimeouts};
use lb_upstream::plan::{MemberPlan, MemberState, PoolPlan};
use lb_upstream::{Answer, Client, Failure, PoolHandle, RetryBudget, Upstreams, Want};

/// What a backend does with a request.
pub(crate) enum Reply {
    /// These bytes, and on to the next.
    Keep(String),
    /// These bytes, and the end.
    Close(String),
    /// These bytes after so long.
    After(Duration, String),
    /// Nothing for good.
    Hang,
}

pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicU64>,
    /// Connections that the client has closed.
    pub(crate) closed: Arc<AtomicU64>,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `script` gets the request's number over all connections, and its text.
    pub(crate) fn start(script: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = Self {
            address: listener.local_addr().expect("an address"),
            connections: Arc::default(),
            closed: Arc::default(),
            requests: Arc::default(),
        };
        let (connections, closed) = (Arc::clone(&server.connections), Arc::clone(&server.closed));
        let requests = Arc::clone(&server.requests);
        let script = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, SeqCst);
                let (requests, script, closed) = (Arc::clone(&requests), Arc::clone(&script), Arc::clone(&closed));
                thread::spawn(move || {
                    if serve(stream, &requests, &*script) {
                        closed.fetch_add(1, SeqCst);
                    }
                });
            }
        });
        server
    }

    /// Answers everything with its own name.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::start(move |_, _| Reply::Keep(ok(name)))
    }

    pub(crate) fn count(&self) -> usize {
        self.requests.lock().expect("not poisoned").len()
    }

    pub(crate) fn request(&self, n: usize) -> String {
        self.requests.lock().expect("not poisoned")[n].clone()
    }
}

/// `true`: the client has closed the connection.
fn serve(mut stream: TcpStream, requests: &Mutex<Vec<String>>, script: &dyn Fn(usize, &str) -> Reply) -> bool {
    let mut buffer = Vec::new();
    loop {
        let Some(request) = read_request(&mut stream, &mut buffer) else { return true };
        let n = {
            let mut all = requests.lock().expect("not poisoned");
            all.push(request.clone());
            all.len() - 1
        };
        match script(n, &request) {
            Reply::Keep(text) => drop(stream.write_all(text.as_bytes())),
            Reply::Close(text) => {
                drop(stream.write_all(text.as_bytes()));
                drop(stream.shutdown(Shutdown::Write));
                return false;
            }
            Reply::After(time, text) => {
                #[expect(clippy::disallowed_methods, reason = "a slow backend is slow")]
                thread::sleep(time);
                drop(stream.write_all(text.as_bytes()));
            }
            Reply::Hang => {
                while matches!(stream.read(&mut [0; 1024]), Ok(n) if n > 0) {}
                return true;
            }
        }
    }
}

fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(buffer).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            let head = text[..end].to_ascii_lowercase();
            let length = head
                .split("\r\n")
                .find_map(|l| l.strip_prefix("content-length: "))
                .map_or(0, |n| n.parse().expect("a length"));
            let all = if head.contains("transfer-encoding: chunked") {
                text[end..].find("0\r\n\r\n").map(|at| end + at + 5)
            } else {
                (buffer.len() >= end + 4 + length).then_some(end + 4 + length)
            };
            if let Some(all) = all {
                let request = buffer.drain(..all).collect::<Vec<u8>>();
                return Some(String::from_utf8_lossy(&request).into_owned());
            }
        }
        let mut chunk = [0; 16 << 10];
        match stream.read(&mut chunk) {
            Ok(n) if n > 0 => buffer.extend_from_slice(&chunk[..n]),
            _ => return None,
        }
    }
}

/// A port that nobody listens on.
pub(crate) fn dead() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address")
}

pub(crate) fn name() -> Name {
    "web".parse().expect("a name")
}

pub(crate) fn member(address: SocketAddr) -> MemberPlan {
    let configured = address.into();
    MemberPlan { configured, address, weight: 1, backup: false, eligible: true, state: MemberState::Up }
}

pub(crate) fn plan(http: HttpPool, members: Vec<MemberPlan>) -> PoolPlan {
    PoolPlan { name: name(), http, maglev_table_size: 251, members }
}

pub(crate) fn install(upstreams: &Upstreams, plan: PoolPlan) -> Arc<PoolHandle> {
    let pools = BTreeMap::from([(plan.name.clone(), Arc::new(plan))]);
    upstreams.install(upstreams.prepare(&pools).expect("pools that can be had"));
    upstreams.pool(&name()).expect("the pool")
}

/// One route's conditions.
pub(crate) struct Route {
    pub(crate) timeouts: RouteTimeouts,
    pub(crate) retry: Retry,
    pub(crate) budget: RetryBudget,
    pub(crate) client: IpAddr,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            timeouts: RouteTimeouts { request: Duration::from_secs(5), ..RouteTimeouts::default() },
            retry: Retry::default(),
            budget: RetryBudget::new(20),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }
}

impl Route {
    pub(crate) fn want(&self) -> Want<'_> {
        Want {
            client: self.client,
            path: "/",
            timeouts: &self.timeouts,
            retry: &self.retry,
            budget: &self.budget,
            secure: false,
        }
    }
}

pub(crate) fn get() -> Request<Body> {
    Request::get("/a?b=c").header("host", "a.test").body(Body::Empty).expect("a request")
}

pub(crate) fn post(body: &str) -> Request<Body> {
    let length = body.len();
    let body = Body::full(body.to_owned());
    Request::post("/a").header("host", "a.test").header("content-length", length).body(body).expect("a request")
}

pub(crate) async fn text(answer: Answer) -> String {
    let bytes = answer.response.into_body().collect().await.expect("a whole body").to_bytes();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One pool on one worker.
pub(crate) struct World {
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) client: std::rc::Rc<Client>,
    pub(crate) pool: Arc<PoolHandle>,
    pub(crate) route: Route,
}

impl World {
    pub(crate) fn new(http: HttpPool, members: Vec<MemberPlan>) -> Self {
        let upstreams = Upstreams::new([7; 32]);
        let pool = install(&upstreams, plan(http, members));
        Self { client: Client::new(Arc::clone(&upstreams)), upstreams, pool, route: Route::default() }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Answer, Failure> {
        self.client.send(&self.pool, request, &self.route.want()).await
    }

    pub(crate) async fn text(&self, request: Request<Body>) -> String {
        text(self.send(request).await.expect("an answer")).await
    }

    pub(crate) fn active(&self) -> u64 {
        self.upstreams.counters().iter().map(|c| c.active).sum()
    }
}

/// Runs as a worker does; fails after 20 s.
pub(crate) fn worker<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async { tokio::time::timeout(Duration::from_secs(20), test).await.expect("in time") })
}

/// Waits until it holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}
