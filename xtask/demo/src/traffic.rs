//! Traffic: new HTTP connections at a steady rate, kept ones that go on asking, and UDP datagrams that want an answer.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use lb_tests::lab::addresses::{Family, flow_source};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

/// New connections and datagrams per second, and how many of each may wait for their answer at once: on a machine that has
/// other work too the rate falls, and nothing fails for want of a CPU.
pub(crate) const CONNECTIONS: u32 = 200;
const DATAGRAMS: u32 = 50;
const AT_ONCE: usize = 48;
/// Connections that stay open, and how often each asks.
const KEPT: u32 = 24;
const KEPT_PAUSE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A connection of its own for one request.
    New,
    /// One request of many on a connection.
    Kept,
    Datagram,
}

/// One request or datagram: when it was sent, and who answered or why nobody did.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) kind: Kind,
    pub(crate) at: Duration,
    pub(crate) outcome: Result<String, Failure>,
}

#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// Who should have answered, where it is known (a kept connection).
    pub(crate) backend: Option<String>,
    pub(crate) why: String,
}

/// Orders to the traffic under way.
#[derive(Clone, Debug, Default)]
struct Orders {
    /// Kept connections of these backends end, as a client's do in time.
    ended: BTreeSet<String>,
    stop: bool,
}

/// Traffic under way, as its owner sees it.
pub(crate) struct Traffic {
    pub(crate) start: Instant,
    log: Arc<Mutex<Vec<Sample>>>,
    orders: watch::Sender<Orders>,
    thread: Option<std::thread::JoinHandle<Result<()>>>,
}

/// What every task of the traffic holds.
#[derive(Clone)]
struct Hand {
    start: Instant,
    log: Arc<Mutex<Vec<Sample>>>,
    orders: watch::Receiver<Orders>,
    web: SocketAddr,
    dns: SocketAddr,
}

impl Traffic {
    pub(crate) fn start(client: &lb_tests::lab::Host, web: SocketAddr, dns: SocketAddr) -> Result<Self> {
        let log = Arc::new(Mutex::new(Vec::new()));
        let (orders, receiver) = watch::channel(Orders::default());
        let start = Instant::now();
        let hand = Hand { start, log: log.clone(), orders: receiver, web, dns };
        // The runtime is built inside the client's namespace, and its threads and sockets with it.
        let thread = client.start(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(hand.everything());
            Ok(())
        })?;
        Ok(Self { start, log, orders, thread: Some(thread) })
    }
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }
    pub(crate) fn end_kept(&self, backend: &str) {
        self.orders.send_modify(|o| {
            o.ended.insert(backend.to_owned());
        });
    }
    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Ends it, and gives everything that was sent.
    pub(crate) fn stop(mut self) -> Result<Vec<Sample>> {
        self.orders.send_modify(|o| o.stop = true);
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| anyhow::anyhow!("the client's thread panicked"))??;
        }
        Ok(self.samples())
    }
}

impl Hand {
    async fn everything(self) {
        let kept = (0..KEPT).map(|n| tokio::spawn(self.clone().keep(n))).collect::<Vec<_>>();
        let datagrams = tokio::spawn(self.clone().datagrams());
        self.clone().connections().await;
        let _ = datagrams.await;
        for k in kept {
            let _ = k.await;
        }
    }

    fn note(&self, kind: Kind, at: Instant, outcome: Result<String, Failure>) {
        let sample = Sample { kind, at: at.duration_since(self.start), outcome };
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
    }
    fn stopped(&self) -> bool {
        self.orders.borrow().stop
    }

    async fn connections(self) {
        let mut tick = interval(Duration::from_secs(1) / CONNECTIONS);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let mut n = KEPT;
        while !self.stopped() {
            tick.tick().await;
            let Ok(place) = room.clone().acquire_owned().await else { return };
            n += 1;
            let hand = self.clone();
            tokio::spawn(async move {
                let _place = place;
                let at = Instant::now();
                let outcome = timeout(PATIENCE, one(hand.web, n)).await.context("no answer").flatten();
                hand.note(Kind::New, at, outcome.map_err(|e| Failure { backend: None, why: format!("{e:#}") }));
            });
        }
        all_answered(&room).await;
    }

    async fn keep(self, n: u32) {
        let mut connection = None;
        let mut backend: Option<String> = None;
        while !self.stopped() {
            if backend.as_ref().is_some_and(|b| self.orders.borrow().ended.contains(b)) {
                return;
            }
            let at = Instant::now();
            let asked = timeout(PATIENCE, async {
                if connection.is_none() {
                    connection = Some(connect(self.web, n).await?);
                }
                ask(connection.as_mut().context("no connection")?, false).await
            });
            let outcome = asked.await.context("no answer").flatten();
            let failed = outcome.is_err();
            if let Ok(name) = &outcome {
                backend = Some(name.clone());
            }
            let was = backend.clone();
            self.note(Kind::Kept, at, outcome.map_err(|e| Failure { backend: was, why: format!("{e:#}") }));
            if failed {
                return; // A broken connection is counted once.
            }
            sleep(KEPT_PAUSE).await;
        }
    }

    async fn datagrams(self) {
        let mut tick = interval(Duration::from_secs(1) / DATAGRAMS);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let mut n = 0;
        while !self.stopped() {
            tick.tick().await;
            let Ok(place) = room.clone().acquire_owned().await else { return };
            n += 1;
            let hand = self.clone();
            tokio::spawn(async move {
                let _place = place;
                let at = Instant::now();
                let outcome = timeout(PATIENCE, datagram(hand.dns, n)).await.context("no answer").flatten();
                hand.note(Kind::Datagram, at, outcome.map_err(|e| Failure { backend: None, why: format!("{e:#}") }));
            });
        }
        all_answered(&room).await;
    }
}

/// Waits for what was sent last.
async fn all_answered(room: &Semaphore) {
    // The semaphore is never closed.
    let _ = room.acquire_many(AT_ONCE as u32).await;
}

async fn connect(to: SocketAddr, n: u32) -> Result<SendRequest<Empty<Bytes>>> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(flow_source(n, Family::V4)).context("cannot bind")?;
    let stream: TcpStream = socket.connect(to).await.context("cannot connect")?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn ask(sender: &mut SendRequest<Empty<Bytes>>, last: bool) -> Result<String> {
    let mut request = Request::get("/").header("host", "demo.example");
    if last {
        request = request.header("connection", "close");
    }
    sender.ready().await.context("the connection broke")?;
    let response = sender.send_request(request.body(Empty::new())?).await.context("no answer")?;
    if !response.status().is_success() {
        bail!("status {}", response.status());
    }
    let body = response.into_body().collect().await.context("the answer broke off")?.to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}

async fn one(to: SocketAddr, n: u32) -> Result<String> {
    let mut sender = connect(to, n).await?;
    ask(&mut sender, true).await
}

async fn datagram(to: SocketAddr, n: u32) -> Result<String> {
    let socket = UdpSocket::bind(flow_source(n, Family::V4)).await?;
    socket.connect(to).await?;
    socket.send(b"who?").await?;
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}
