//! UDP: sessions between clients and backends, datagrams in batches.
//!
//! A client's datagrams to a service's address are one session, with a socket of its own towards the backend; what comes
//! back on that socket goes to the client from the address that the client spoke to.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use lb_common::reason::Reason;
use lb_model::Protocol;
use socket2::{Domain, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

use super::choose::{self, Newcomer};
use super::live::{Held, LiveBackend, LiveService, Standing};
use super::sessions::{Id, Key};
use super::shared::{FlowCount, Shared};
use super::sys::{self, BATCH, Batch};
use super::tcp::Here;
use super::udp_ports::Path;

thread_local! {
    static DATAGRAMS: RefCell<Batch> = RefCell::new(Batch::new());
}

/// Source ports tried for one session, others' sockets being in the way.
const PORT_TRIES: usize = 16;
/// Backends tried for one session.
const ATTEMPTS: usize = 3;

/// A service's socket in one worker.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) service: Arc<LiveService>,
    pub(super) address: SocketAddr,
    pub(super) socket: UdpSocket,
    /// What [`sys::overflowed`] said last.
    overflowed: AtomicU32,
}

impl Port {
    pub(super) fn new(service: Arc<LiveService>, address: SocketAddr, socket: UdpSocket) -> Self {
        Self { service, address, socket, overflowed: AtomicU32::new(0) }
    }

    /// Counts the datagrams that came faster than they were read.
    pub(super) fn count_overflow(&self) {
        if let Some(total) = sys::overflowed(self.socket.as_fd()) {
            let before = self.overflowed.swap(total, Relaxed);
            self.service.drop_packets(Reason::Congested, total.wrapping_sub(before).into());
        }
    }
}

/// A session's socket towards its backend.
#[derive(Debug)]
pub(super) struct Upstream {
    /// Closed before its port is given back.
    socket: Option<UdpSocket>,
    path: Path,
    port: u16,
    shared: Arc<Shared>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.socket.take());
        self.shared.ports.give_back(self.path, self.port);
    }
}

/// What a session holds, let go of when it ends.
#[derive(Debug)]
pub(super) struct HeldSession {
    pub(super) held: Held,
    pub(super) upstream: Arc<Upstream>,
    reader: Option<AbortHandle>,
    _count: FlowCount,
}

impl HeldSession {
    pub(super) fn backend(&self) -> SocketAddr {
        self.upstream.path.1
    }
}

impl Drop for HeldSession {
    fn drop(&mut self) {
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

/// Serves a port until the task is aborted.
pub(super) async fn serve(here: Here, port: Arc<Port>) {
    loop {
        if port.socket.readable().await.is_err() {
            return;
        }
        DATAGRAMS.with_borrow_mut(|batch| {
            if let Some(n) = receive(&port.socket, batch, true) {
                from_clients(&here, &port, batch, n);
            }
        });
        tokio::task::coop::consume_budget().await;
    }
}

/// Receives a batch; one that is not full has emptied the socket, so the readiness is taken back at once.
fn receive(socket: &UdpSocket, batch: &mut Batch, names: bool) -> Option<usize> {
    let mut got = None;
    let _would_block_or_icmp = socket.try_io(Interest::READABLE, || {
        let n = batch.receive(socket.as_fd(), names)?;
        got = Some(n);
        if n < BATCH { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    got
}

/// Sends runs of datagrams of the same client on together.
fn from_clients(here: &Here, port: &Arc<Port>, batch: &mut Batch, n: usize) {
    let mut first = 0;
    while first < n {
        let client = batch.source(first);
        let end = (first + 1..n).find(|&i| batch.source(i) != client).unwrap_or(n);
        if let Some(client) = client {
            from_client(here, port, client, batch, first..end);
        }
        first = end;
    }
}

fn from_client(here: &Here, port: &Arc<Port>, client: SocketAddr, batch: &mut Batch, run: std::ops::Range<usize>) {
    let key = Key { client, vip: port.address };
    let packets = run.len() as u64;
    match session(here, port, key) {
        Ok((id, upstream)) => {
            let headers = if client.is_ipv4() { 28 } else { 48 };
            let bytes: u64 = run.clone().map(|i| batch.length(i) as u64 + headers).sum();
            let lost = forward(&upstream, batch, run);
            let mut sessions = here.own.sessions();
            sessions.on_client(id, packets, bytes, here.own.now.millis());
            if let Some(s) = sessions.get(id) {
                s.held.held.add(packets - lost, bytes);
                s.held.held.refresh_affinity(client, here.own.now.millis());
            }
            drop(sessions);
            port.service.drop_packets(Reason::Congested, lost);
        }
        Err(reason) => port.service.drop_packets(reason, packets),
    }
}

/// Sends a run to the backend; says how many datagrams its socket had no room for.
fn forward(upstream: &Upstream, batch: &mut Batch, run: std::ops::Range<usize>) -> u64 {
    let Some(socket) = &upstream.socket else { return run.len() as u64 };
    send_all(socket, batch, run, None)
}

/// Sends a run of datagrams; says how many found no room. Errors that tell of an earlier datagram (ICMP) are met once and
/// the datagram is sent again.
fn send_all(socket: &UdpSocket, batch: &mut Batch, run: std::ops::Range<usize>, to: Option<SocketAddr>) -> u64 {
    let mut at = run.start;
    let mut lost = 0;
    let mut told = false;
    while at < run.end {
        match batch.send(socket.as_fd(), at, run.end, to) {
            Ok(n) => at += n.max(1),
            Err(e) if e.kind() == ErrorKind::ConnectionRefused && !told => told = true,
            Err(_) => {
                // This one cannot go; those after it may (too large for the path, for example).
                lost += 1;
                at += 1;
                told = false;
            }
        }
    }
    lost
}

/// The session of a key: the known one, or a new one with a backend chosen for it.
fn session(here: &Here, port: &Arc<Port>, key: Key) -> Result<(Id, Arc<Upstream>), Reason> {
    let known = {
        let mut sessions = here.own.sessions();
        let known = sessions.find(&key);
        let usable = known.and_then(|id| {
            let s = &sessions.get(id)?.held;
            let stays = matches!(s.held.backend.standing(), Standing::Up | Standing::Orphan);
            (stays && Arc::ptr_eq(&s.held.service, &port.service)).then(|| (id, s.upstream.clone()))
        });
        if let Some(found) = usable {
            return Ok(found);
        }
        known.and_then(|id| sessions.close(id))
    };
    let settings = port.service.settings();
    if known.is_none() {
        choose::guard(&port.service, &settings, key.client, &here.shared.clock)?;
    }
    drop(known);
    let now = here.own.now.millis();
    let flow = Newcomer { client: key.client, vip: key.vip, protocol: Protocol::Udp };
    let mut backend = choose::select(&port.service, &settings, &flow, now, false).ok_or(Reason::NoBackend)?.backend;
    drop(here.own.sessions().make_room().map_err(|_| Reason::FlowTableFull)?);
    if here.shared.is_full(Protocol::Udp) {
        drop(here.own.sessions().evict().ok_or(Reason::FlowTableFull)?);
    }
    let mut tried = Vec::new();
    let upstream = loop {
        match upstream(here, backend.address(key.vip.port())) {
            Ok(u) => break u,
            Err(reason) => {
                tried.push(backend);
                let next = if tried.len() < ATTEMPTS { choose::reselect(&settings, &flow, &tried) } else { None };
                backend = next.ok_or(reason)?.backend;
            }
        }
    };
    if !tried.is_empty() {
        choose::remember(&port.service, &settings, &flow, &backend, now);
    }
    Ok(open(here, port, key, backend, upstream))
}

fn open(here: &Here, port: &Arc<Port>, key: Key, backend: Arc<LiveBackend>, upstream: Upstream) -> (Id, Arc<Upstream>) {
    let upstream = Arc::new(upstream);
    let held = Held::new(&port.service, backend);
    held.opened();
    let session = HeldSession {
        held,
        upstream: upstream.clone(),
        reader: None,
        _count: FlowCount::new(&here.shared, Protocol::Udp),
    };
    let mut sessions = here.own.sessions();
    let id = sessions.open(key, session, here.own.now.millis());
    let reader = tokio::spawn(answers(here.clone(), port.clone(), upstream.clone(), id, key.client));
    if let Some(held) = sessions.held_mut(id) {
        held.reader = Some(reader.abort_handle());
    }
    (id, upstream)
}

/// A socket towards a backend, from a port that no other session towards it uses.
fn upstream(here: &Here, to: SocketAddr) -> Result<Upstream, Reason> {
    let path = (here.shared.source(to), to);
    let mut refused = Vec::new();
    let outcome = loop {
        if refused.len() >= PORT_TRIES {
            break Err(Reason::NatExhausted);
        }
        let Some(port) = here.shared.ports.claim(path) else { break Err(Reason::NatExhausted) };
        match bound(path, port) {
            Ok(socket) => {
                break Ok(Upstream { socket: Some(socket), path, port, shared: here.shared.clone() });
            }
            Err(e) if e.kind() == ErrorKind::AddrInUse => refused.push(port),
            Err(e) => {
                refused.push(port);
                if matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
                    drop(here.own.sessions().evict());
                    break Err(Reason::FlowTableFull);
                }
                tracing::debug!(backend = %to, error = %e, "cannot reach");
                break Err(Reason::ConnectFailed);
            }
        }
    };
    for port in refused {
        here.shared.ports.give_back(path, port);
    }
    outcome
}

fn bound((source, to): Path, port: u16) -> io::Result<UdpSocket> {
    let s = Socket::new(Domain::for_address(to), Type::DGRAM.nonblocking().cloexec(), None)?;
    // Sessions towards different backends share ports; towards one backend each port is claimed once.
    s.set_reuse_address(true)?;
    let any = if to.is_ipv4() {
        std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)
    } else {
        std::net::IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)
    };
    s.bind(&SocketAddr::new(source.unwrap_or(any), port).into())?;
    s.connect(&to.into())?;
    UdpSocket::from_std(s.into())
}

/// Passes a backend's datagrams on to the client, from the address that the client spoke to.
async fn answers(here: Here, port: Arc<Port>, upstream: Arc<Upstream>, id: Id, client: SocketAddr) {
    let Some(socket) = &upstream.socket else { return };
    loop {
        if socket.readable().await.is_err() {
            return;
        }
        DATAGRAMS.with_borrow_mut(|batch| {
            if let Some(n) = receive(socket, batch, false) {
                here.own.sessions().on_answer(id, here.own.now.millis());
                let lost = send_all(&port.socket, batch, 0..n, Some(client));
                port.service.drop_packets(Reason::Congested, lost);
            }
        });
        tokio::task::coop::consume_budget().await;
    }
}
