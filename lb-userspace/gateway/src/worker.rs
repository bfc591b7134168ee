//! One thread with its own runtime: it accepts, serves, counts and logs without asking another.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::HeaderValue;
use lb_certs::Challenges;
use lb_model::{AccessLogFormat, Name};
use lb_observe::AccessLog;
use lb_observe::traces::Traces;
use lb_upstream::{Client, Upstreams};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use slab::Slab;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::connection::Life;
use crate::digits;
use crate::listener::accept;
use crate::listener::udp::Share;
use crate::log;
use crate::protocol::h3;
use crate::record::Record;
use crate::snapshot::Place;
use crate::stats::Shard;
use crate::tap::Taps;

/// How often a worker writes out its access lines and looks at the date.
const TICK: Duration = Duration::from_millis(200);
/// Bytes of access lines that are handed to the writer at once.
const LINES: usize = 32 << 10;

/// What all workers have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub upstreams: Arc<Upstreams>,
    pub challenges: Arc<Challenges>,
    pub access: Option<AccessLog>,
    pub format: AccessLogFormat,
    /// Percent.
    pub sample: u8,
    pub taps: Taps,
    /// `None`: the environment names no collector.
    pub traces: Option<Traces>,
    /// Requests and tunnels.
    pub requests: AtomicI64,
    pub connections: AtomicI64,
}

impl Shared {
    pub(crate) fn challenge(&self, token: &str) -> Option<String> {
        self.challenges.http(token)
    }
}

/// What the engine tells a worker; each is acknowledged when it is done.
#[derive(Debug)]
pub(crate) enum Command {
    Open {
        place: Arc<Place>,
        name: Name,
        sockets: Vec<TcpListener>,
    },
    /// The listener's sockets close; its connections go politely.
    Close(Name),
    OpenQuic {
        place: Arc<Place>,
        name: Name,
        sockets: Vec<(UdpSocket, Share)>,
    },
    /// HTTP/3 ends there, and nothing else.
    CloseQuic(Name),
    /// Another process reads these sockets: QUIC's connections end at once.
    DropQuic,
    /// All listeners close, all connections go politely.
    Leave,
    /// Tunnels end.
    Cut,
    /// Access lines are handed over.
    Flush,
}

/// The engine's side of a worker.
#[derive(Debug)]
pub(crate) struct Handle {
    pub commands: UnboundedSender<(Command, SyncSender<()>)>,
    pub shard: Arc<Shard>,
    pub thread: Option<JoinHandle<()>>,
}

/// A worker's own state.
#[derive(Debug)]
pub(crate) struct Worker {
    pub shared: Arc<Shared>,
    pub client: Rc<Client>,
    pub shard: Arc<Shard>,
    lives: RefCell<Slab<(u32, Rc<Life>)>>,
    quic: RefCell<HashMap<Name, (u32, h3::Stop)>>,
    chance: RefCell<SmallRng>,
    lines: RefCell<(Vec<u8>, u64)>,
    /// The wall clock at an instant; set anew with each tick.
    wall: Cell<(SystemTime, Instant)>,
    date: RefCell<HeaderValue>,
}

/// Starts a worker's thread.
///
/// # Errors
/// Of the thread or its runtime.
pub(crate) fn start(index: usize, shared: &Arc<Shared>) -> std::io::Result<Handle> {
    let (commands, inbox) = unbounded_channel();
    let shard = Arc::new(Shard::default());
    let (shared, own) = (Arc::clone(shared), Arc::clone(&shard));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name(format!("lb-http-{index}")).spawn(move || {
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, run(shared, own, inbox));
    })?;
    Ok(Handle { commands, shard, thread: Some(thread) })
}

async fn run(shared: Arc<Shared>, shard: Arc<Shard>, mut inbox: UnboundedReceiver<(Command, SyncSender<()>)>) {
    let worker = Rc::new(Worker {
        client: Client::new(Arc::clone(&shared.upstreams)),
        shared,
        shard,
        lives: RefCell::new(Slab::new()),
        quic: RefCell::default(),
        chance: RefCell::new(SmallRng::from_os_rng()),
        lines: RefCell::new((Vec::new(), 0)),
        wall: Cell::new((clock::wall(), clock::now())),
        date: RefCell::new(HeaderValue::from_static("")),
    });
    worker.tick();
    let mut listeners: HashMap<Name, (u32, CancellationToken)> = HashMap::new();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => worker.tick(),
            command = inbox.recv() => match command {
                Some((command, done)) => {
                    worker.obey(command, &mut listeners);
                    let _nobody_waits = done.try_send(());
                }
                None => break,
            },
        }
    }
    worker.hand_over();
}

impl Worker {
    fn obey(self: &Rc<Self>, command: Command, listeners: &mut HashMap<Name, (u32, CancellationToken)>) {
        match command {
            Command::Open { place, name, sockets } => {
                let stop = CancellationToken::new();
                for socket in sockets {
                    match tokio::net::TcpListener::from_std(socket) {
                        Ok(socket) => {
                            let (worker, place) = (Rc::clone(self), Arc::clone(&place));
                            tokio::task::spawn_local(accept::run(worker, place, socket, stop.clone()));
                        }
                        Err(e) => tracing::error!("listener '{name}': {e}"),
                    }
                }
                listeners.insert(name, (place.site.load().id, stop));
            }
            Command::Close(name) => {
                if let Some((id, stop)) = listeners.remove(&name) {
                    stop.cancel();
                    self.send_off(|of| of == id);
                }
            }
            Command::OpenQuic { place, name, sockets } => {
                let stop = h3::Stop::default();
                let id = h3::life_of(place.site.load().id);
                for (socket, share) in sockets {
                    let (worker, place) = (Rc::clone(self), Arc::clone(&place));
                    tokio::task::spawn_local(h3::run(worker, place, socket, share, stop.clone()));
                }
                self.quic.borrow_mut().insert(name, (id, stop));
            }
            Command::CloseQuic(name) => {
                if let Some((id, stop)) = self.quic.borrow_mut().remove(&name) {
                    stop.accepting.cancel();
                    self.send_off(|of| of == id);
                }
            }
            Command::DropQuic => self.quic.borrow().values().for_each(|(_, stop)| stop.all.cancel()),
            Command::Leave => {
                self.quic.borrow().values().for_each(|(_, stop)| stop.accepting.cancel());
                for (_, (_, stop)) in listeners.drain() {
                    stop.cancel();
                }
                self.send_off(|_| true);
            }
            Command::Cut => self.lives.borrow().iter().for_each(|(_, (_, life))| life.cut.cancel()),
            Command::Flush => self.tick(),
        }
    }

    fn send_off(&self, of: impl Fn(u32) -> bool) {
        for (_, (_, life)) in self.lives.borrow().iter().filter(|(_, (id, _))| of(*id)) {
            life.go();
        }
    }

    pub(crate) fn admit(&self, listener: u32, life: &Rc<Life>) -> usize {
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
        self.lives.borrow_mut().insert((listener, Rc::clone(life)))
    }

    pub(crate) fn dismiss(&self, key: usize) {
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.lives.borrow_mut().try_remove(key);
    }

    pub(crate) fn requests_open(&self, by: i64) {
        self.shared.requests.fetch_add(by, Ordering::Relaxed);
    }

    fn tick(&self) {
        let (wall, now) = (clock::wall(), clock::now());
        self.wall.set((wall, now));
        if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(wall)) {
            *self.date.borrow_mut() = date;
        }
        self.hand_over();
    }

    fn hand_over(&self) {
        let (lines, count) = self.lines.take();
        if let (Some(access), true) = (&self.shared.access, count > 0) {
            access.submit(lines, count);
        }
    }

    /// Now, for a Date field; at most a tick old.
    pub(crate) fn date(&self) -> HeaderValue {
        self.date.borrow().clone()
    }

    /// The date of an instant near now, without a system call.
    fn wall_at(&self, at: Instant) -> SystemTime {
        let (wall, then) = self.wall.get();
        wall + at.saturating_duration_since(then)
    }

    pub(crate) fn request_id(&self) -> HeaderValue {
        let mut text = Vec::with_capacity(32);
        let mut chance = self.chance.borrow_mut();
        digits::hex(&mut text, chance.random());
        digits::hex(&mut text, chance.random());
        HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }

    pub(crate) fn log_is_combined(&self) -> bool {
        self.shared.access.is_some() && self.shared.format == AccessLogFormat::Combined
    }

    /// The access line and the tap, of a request that has ended.
    pub(crate) fn log(&self, record: &Record, bytes_out: u64, took: Duration) {
        let wall = self.wall_at(record.started + took);
        if self.shared.taps.any() {
            self.shared.taps.tell(record, bytes_out, took, wall);
        }
        let sample = self.shared.sample;
        if self.shared.access.is_none() || sample == 0 {
            return;
        }
        if sample < 100 && self.chance.borrow_mut().random_range(0..100_u8) >= sample {
            return;
        }
        let mut lines = self.lines.borrow_mut();
        log::line(&mut lines.0, self.shared.format, record, bytes_out, took, wall);
        lines.1 += 1;
        if lines.0.len() >= LINES {
            drop(lines);
            self.hand_over();
        }
    }
}
