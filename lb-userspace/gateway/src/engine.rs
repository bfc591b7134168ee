//! Layer 7 as a whole: what is in force, and how another plan comes to be, whole or not at all.

mod quic;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use lb_cache::Caches;
use lb_certs::{Challenges, ServerTls};
use lb_model::http::Listener;
use lb_model::{AccessLog as Target, Name};
use lb_observe::AccessLog;
use lb_observe::traces::Traces;
use lb_upstream::{Prepared, Upstreams};

use crate::chores::Chores;
use crate::clock;
use crate::door::{GatewayError, GatewayOptions, Inherited};
use crate::listener::socket;
use crate::plan::HttpPlan;
use crate::snapshot::{self, Place, Road};
use crate::stats::{Ids, Shard};
use crate::tap::Taps;
use crate::worker::{self, Command, Handle, Shared};

/// How long a worker may take to obey: far more than it ever does.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(crate) struct Engine {
    pub shared: Arc<Shared>,
    pub caches: Caches,
    pub ids: Arc<Ids>,
    workers: Vec<Handle>,
    open: BTreeMap<Name, Open>,
    quic: BTreeMap<Name, quic::Sockets>,
    /// Another process has our sockets.
    handed_over: AtomicBool,
    inherited: Mutex<Vec<Inherited>>,
    state_dir: PathBuf,
    chores: Chores,
    pub plan: HttpPlan,
}

/// A listener that is listened on.
#[derive(Debug)]
struct Open {
    place: Arc<Place>,
    address: SocketAddr,
    /// One per worker, or what another process had.
    sockets: Vec<TcpListener>,
}

/// All of a plan that can fail, done.
struct Ready {
    upstreams: Prepared,
    roads: Vec<Arc<Road>>,
    certificates: BTreeMap<Name, Arc<ServerTls>>,
}

impl Engine {
    pub(crate) fn start(options: GatewayOptions) -> Result<Self, GatewayError> {
        let access = match &options.host.access_log {
            Target::Off => None,
            Target::Stdout => Some(AccessLog::open(None)),
            Target::File(path) => Some(AccessLog::open(Some(path))),
        };
        let access = access.transpose().map_err(|e| GatewayError::Start(format!("the access log: {e}")))?;
        let key = crate::key::sticky(&options.state_dir).map_err(GatewayError::Start)?;
        let shared = Arc::new(Shared {
            upstreams: Upstreams::new(key),
            challenges: Arc::new(Challenges::default()),
            access,
            format: options.host.access_log_format,
            sample: options.host.access_log_sample,
            taps: Taps::default(),
            traces: Traces::from_env().map_err(GatewayError::Start)?,
            requests: AtomicI64::new(0),
            connections: AtomicI64::new(0),
        });
        let count = match options.workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            n => n,
        };
        let failed = |e: std::io::Error| GatewayError::Start(format!("a worker cannot be started: {e}"));
        let workers = (0..count).map(|i| worker::start(i, &shared)).collect::<Result<_, _>>().map_err(failed)?;
        Ok(Self {
            chores: Chores::start(&options.state_dir, &shared.challenges).map_err(failed)?,
            shared,
            caches: Caches::default(),
            ids: Arc::default(),
            workers,
            open: BTreeMap::new(),
            quic: BTreeMap::new(),
            handed_over: AtomicBool::new(false),
            inherited: Mutex::new(options.inherited),
            state_dir: options.state_dir,
            plan: HttpPlan::default(),
        })
    }

    pub(crate) fn check(&self, plan: &HttpPlan) -> Result<(), Vec<GatewayError>> {
        self.ready(plan).map(drop)
    }

    /// Reads every file, compiles every route, changes nothing that serves.
    fn ready(&self, plan: &HttpPlan) -> Result<Ready, Vec<GatewayError>> {
        let mut faults = Vec::new();
        let files = |list: Vec<String>| list.into_iter().map(GatewayError::File);
        let mut certificates = BTreeMap::new();
        for (name, listener) in plan.listeners.iter().filter(|(_, l)| l.is_tls()) {
            if let Some(same) = self.unchanged_tls(listener) {
                certificates.insert(name.clone(), same);
                continue;
            }
            match ServerTls::load(listener, &self.state_dir, &self.shared.challenges) {
                Ok(loaded) => {
                    certificates.insert(name.clone(), loaded);
                }
                Err(list) => faults.extend(files(list)),
            }
        }
        let upstreams = match self.shared.upstreams.prepare(&plan.pools) {
            Ok(prepared) => prepared,
            Err(list) => {
                faults.extend(files(list));
                return Err(faults);
            }
        };
        match snapshot::roads(plan, &upstreams, &self.ids) {
            Ok(roads) if faults.is_empty() => Ok(Ready { upstreams, roads, certificates }),
            Ok(_) => Err(faults),
            Err(list) => {
                faults.extend(files(list));
                Err(faults)
            }
        }
    }

    /// What is loaded already, where nothing that it depends on was changed: sessions and orders go on.
    fn unchanged_tls(&self, listener: &Arc<Listener>) -> Option<Arc<ServerTls>> {
        let place = &self.open.get(&listener.name)?.place;
        let old = &place.site.load().listener;
        let same = old.certificates == listener.certificates
            && old.client_auth == listener.client_auth
            && old.tls_min == listener.tls_min
            && old.protocols == listener.protocols;
        if same { place.tls.load_full() } else { None }
    }

    pub(crate) fn apply(&mut self, plan: HttpPlan) -> Result<(), GatewayError> {
        let ready = self.ready(&plan).map_err(|mut all| all.swap_remove(0))?;
        let mut opened = self.bind(&plan)?;
        let udp = self.bind_quic(&plan)?;
        let caches: Vec<_> =
            plan.routes.iter().filter_map(|r| r.cache.clone().map(|cache| (r.name.clone(), cache))).collect();
        for fault in self.caches.set(&caches) {
            tracing::error!("{fault}");
        }
        for road in &ready.roads {
            if let Some(cache) = self.caches.get(&road.route.name) {
                let _first = road.cache.set(cache);
            }
        }
        self.shared.upstreams.install(ready.upstreams);
        let mut closed: Vec<Name> = Vec::new();
        for (name, open) in &self.open {
            if plan.listeners.get(name).is_none_or(|l| l.listen != open.address) {
                closed.push(name.clone());
            }
        }
        for (name, listener) in &plan.listeners {
            let site = Arc::new(snapshot::site(listener, &ready.roads, &self.ids));
            let tls = ready.certificates.get(name).cloned();
            if let Some(open) = self.open.get(name).filter(|o| o.address == listener.listen) {
                open.place.tls.store(tls);
                open.place.site.store(site);
            } else if let Some(sockets) = opened.remove(name) {
                if closed.contains(name) {
                    self.close(name);
                }
                let place = Arc::new(Place { site: ArcSwap::new(site), tls: ArcSwapOption::new(tls) });
                self.listen(name, Open { place, address: listener.listen, sockets })?;
            }
        }
        for name in closed.iter().filter(|n| !plan.listeners.contains_key(*n)) {
            self.close(name);
        }
        self.settle_quic(&plan, udp);
        self.chores.order(plan.listeners.values().map(Arc::as_ref));
        self.chores.watch(ready.certificates.into_values().collect());
        // What was taken over and is not wanted any more: nobody would accept there.
        self.inherited.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.plan = plan;
        Ok(())
    }

    /// Sockets for all listeners that are not listened on yet; all or none.
    fn bind(&self, plan: &HttpPlan) -> Result<BTreeMap<Name, Vec<TcpListener>>, GatewayError> {
        let mut opened = BTreeMap::new();
        for (name, listener) in &plan.listeners {
            let address = listener.listen;
            if self.open.get(name).is_some_and(|o| o.address == address) {
                continue;
            }
            let taken = self.take_inherited(address);
            let ours = self.open.values().any(|o| o.address == address);
            let sockets = if taken.is_empty() {
                socket::open(address, self.workers.len(), ours).map_err(|why| GatewayError::Listen {
                    listener: name.to_string(),
                    address,
                    why,
                })?
            } else {
                taken
            };
            opened.insert(name.clone(), sockets);
        }
        Ok(opened)
    }

    fn take_inherited(&self, address: SocketAddr) -> Vec<TcpListener> {
        let mut waiting = self.inherited.lock().unwrap_or_else(PoisonError::into_inner);
        let (ours, rest): (Vec<_>, Vec<_>) = waiting.drain(..).partition(|i| i.address == address && !i.udp);
        *waiting = rest;
        ours.into_iter()
            .map(|i| TcpListener::from(i.socket))
            .filter(|socket| socket.set_nonblocking(true).is_ok())
            .collect()
    }

    /// Each worker has a socket; more of them (another process had more workers) go around.
    fn listen(&mut self, name: &Name, open: Open) -> Result<(), GatewayError> {
        let mut shares: Vec<Vec<TcpListener>> = self.workers.iter().map(|_| Vec::new()).collect();
        let failed = |e: std::io::Error| GatewayError::Start(format!("listener '{name}': {e}"));
        for at in 0..open.sockets.len().max(shares.len()) {
            let socket = open.sockets[at % open.sockets.len().max(1)].try_clone().map_err(failed)?;
            let share = at % shares.len();
            shares[share].push(socket);
        }
        let commands = shares
            .into_iter()
            .map(|sockets| Command::Open { place: Arc::clone(&open.place), name: name.clone(), sockets })
            .collect();
        self.tell(commands);
        self.open.insert(name.clone(), open);
        Ok(())
    }

    fn close(&mut self, name: &Name) {
        self.open.remove(name);
        self.tell(self.workers.iter().map(|_| Command::Close(name.clone())).collect());
    }

    /// One command for each worker; returns when all have obeyed.
    fn tell(&self, commands: Vec<Command>) {
        let (done, obeyed) = sync_channel(self.workers.len());
        for (worker, command) in self.workers.iter().zip(commands) {
            let _gone = worker.commands.send((command, done.clone()));
        }
        drop(done);
        for _ in &self.workers {
            match obeyed.recv_timeout(PATIENCE) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    tracing::error!("a worker of layer 7 does not answer");
                    break;
                }
            }
        }
    }

    pub(crate) fn shards(&self) -> Vec<Arc<Shard>> {
        self.workers.iter().map(|w| Arc::clone(&w.shard)).collect()
    }

    pub(crate) fn certificates(&self) -> Vec<(Name, Arc<ServerTls>)> {
        let tls = |(name, open): (&Name, &Open)| Some((name.clone(), open.place.tls.load_full()?));
        self.open.iter().filter_map(tls).collect()
    }

    pub(crate) fn place(&self, name: &Name) -> Option<&Arc<Place>> {
        self.open.get(name).map(|o| &o.place)
    }

    pub(crate) fn sockets(&self) -> std::io::Result<Vec<Inherited>> {
        let mut all = Vec::new();
        for open in self.open.values() {
            for socket in &open.sockets {
                let socket = OwnedFd::from(socket.try_clone()?);
                all.push(Inherited { address: open.address, udp: false, socket });
            }
        }
        all.extend(self.quic_sockets()?);
        self.handed_over.store(true, Ordering::Relaxed);
        Ok(all)
    }

    pub(crate) fn in_flight(&self) -> u64 {
        let count = |n: &AtomicI64| u64::try_from(n.load(Ordering::Relaxed)).unwrap_or(0);
        count(&self.shared.requests).max(count(&self.shared.connections))
    }

    pub(crate) fn flush_log(&self) {
        self.tell(self.workers.iter().map(|_| Command::Flush).collect());
    }

    /// See [`crate::Gateway::stop`].
    pub(crate) fn stop(mut self, within: Duration) -> u64 {
        self.open.clear();
        self.quic.clear();
        if self.handed_over.load(Ordering::Relaxed) {
            self.tell(self.workers.iter().map(|_| Command::DropQuic).collect());
        }
        self.tell(self.workers.iter().map(|_| Command::Leave).collect());
        self.wait(within);
        let cut = u64::try_from(self.shared.requests.load(Ordering::Relaxed)).unwrap_or(0);
        if self.in_flight() > 0 {
            self.tell(self.workers.iter().map(|_| Command::Cut).collect());
            self.wait(Duration::from_millis(500));
        }
        for worker in self.workers.drain(..) {
            drop(worker.commands);
            if let Some(thread) = worker.thread {
                let _panicked = thread.join();
            }
        }
        self.caches.close();
        cut
    }

    fn wait(&self, within: Duration) {
        let until = clock::now() + within;
        let (_never, nothing) = sync_channel::<()>(0);
        while self.in_flight() > 0 && clock::now() < until {
            let _time = nothing.recv_timeout(LOOK);
        }
    }
}
