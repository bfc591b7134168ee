//! TCP: accepting clients, admitting them, and reaching a backend for each.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use lb_common::flow::state;
use lb_common::reason::Reason;
use lb_model::Protocol;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{Interest, Ready};
use tokio::net::{TcpListener, TcpStream};

use super::choose::{self, Newcomer};
use super::clock::age;
use super::conns::{Conn, Signal};
use super::live::{Held, LiveBackend, LiveService};
use super::relay;
use super::shared::{FlowCount, Own, Shared};

/// Backends tried for one connection.
const ATTEMPTS: usize = 3;
/// Source ports tried when the kernel finds none, and where they lie.
const PORT_TRIES: usize = 16;
const BELOW_EPHEMERAL: std::ops::Range<u16> = 10_240..32_768;
/// How long accepting pauses when the host has no descriptors or memory left.
const BACK_OFF: Duration = Duration::from_millis(50);

/// A service's listening socket in one worker.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) service: Arc<LiveService>,
    pub(super) address: SocketAddr,
    pub(super) listener: TcpListener,
}

/// A worker, as its tasks see it.
#[derive(Clone, Debug)]
pub(super) struct Here {
    pub(super) shared: Arc<Shared>,
    pub(super) own: Arc<Own>,
}

/// Accepts until the task is aborted.
pub(super) async fn serve(here: Here, door: Arc<Door>) {
    loop {
        match door.listener.accept().await {
            Ok((client, from)) => welcome(&here, &door, client, from),
            Err(e) if is_passing(&e) => {}
            Err(e) => {
                door.service.drop_packet(Reason::FlowTableFull);
                complain(&here, &door, &e);
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// Takes in whoever still waits at a door that is being closed.
pub(super) fn empty_queue(here: &Here, door: &Door) {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    while let Poll::Ready(Ok((client, from))) = door.listener.poll_accept(&mut cx) {
        welcome(here, door, client, from);
    }
}

/// Errors of `accept` that are the client's, not the host's (accept(2), "Error handling").
fn is_passing(e: &io::Error) -> bool {
    !matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

fn complain(here: &Here, door: &Door, e: &io::Error) {
    use std::sync::atomic::Ordering::Relaxed;
    let now = here.own.now.millis();
    if age(now, here.own.complained.load(Relaxed)) >= 5_000 {
        here.own.complained.store(now, Relaxed);
        tracing::warn!(service = %door.service.name, listen = %door.address, error = %e, "cannot accept; raise the limit of open files");
    }
}

/// Decides about a new connection and gives it a task of its own.
fn welcome(here: &Here, door: &Door, client: TcpStream, from: SocketAddr) {
    let settings = door.service.settings();
    let vip =
        if door.address.ip().is_unspecified() { client.local_addr().unwrap_or(door.address) } else { door.address };
    let flow = Newcomer { client: from, vip, protocol: Protocol::Tcp };
    let admitted = if here.shared.is_full(Protocol::Tcp) {
        Err(Reason::FlowTableFull)
    } else {
        choose::guard(&door.service, &settings, from, &here.shared.clock)
    };
    let now = here.own.now.millis();
    let chosen =
        admitted.and_then(|()| choose::select(&door.service, &settings, &flow, now, false).ok_or(Reason::NoBackend));
    match chosen {
        Ok(choice) => {
            // Counted at once, so that the next choice already sees it.
            let held = Held::new(&door.service, choice.backend);
            tokio::spawn(carry(here.clone(), client, flow, held));
        }
        Err(reason) => {
            door.service.drop_packet(reason);
            reset(client);
        }
    }
}

/// A connection from its backend's choice to its end.
async fn carry(here: Here, client: TcpStream, flow: Newcomer, mut held: Held) {
    let _count = FlowCount::new(&here.shared, Protocol::Tcp);
    let service = held.service.clone();
    let mut tried: Vec<Arc<LiveBackend>> = Vec::new();
    loop {
        let backend = held.backend.clone();
        let place = Place::take(&here, &flow, held);
        let why = match connect(&here, &place.conn).await {
            Ok(server) => {
                place.conn.held.opened();
                let settings = service.settings();
                if !tried.is_empty() {
                    choose::remember(&service, &settings, &flow, &backend, here.own.now.millis());
                }
                let send_proxy = settings.service.send_proxy;
                drop(settings);
                place.conn.set_state(state::ESTABLISHED);
                return relay::run(&here, &place.conn, client, server, send_proxy).await;
            }
            Err(e) => e,
        };
        let (pool, upstream) = (&backend.id.pool, place.conn.upstream);
        tracing::debug!(service = %service.name, %pool, backend = %upstream, error = %why, "cannot connect");
        drop(place);
        tried.push(backend);
        let again = tried.len() < ATTEMPTS && service.removed().is_none();
        let next = if again { choose::reselect(&service.settings(), &flow, &tried) } else { None };
        let Some(choice) = next else {
            let no_port = why.kind() == io::ErrorKind::AddrNotAvailable;
            service.drop_packet(if no_port { Reason::NatExhausted } else { Reason::ConnectFailed });
            return reset(client);
        };
        held = Held::new(&service, choice.backend);
    }
}

/// A connection's entry among the worker's, gone when dropped.
struct Place {
    own: Arc<Own>,
    key: usize,
    conn: Arc<Conn>,
}

impl Place {
    fn take(here: &Here, flow: &Newcomer, held: Held) -> Self {
        let upstream = held.backend.address(flow.vip.port());
        let conn = Arc::new(Conn::new(held, flow.client, flow.vip, upstream, here.own.now.millis()));
        let key = here.own.conns.insert(conn.clone());
        Self { own: here.own.clone(), key, conn }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.own.conns.remove(self.key);
    }
}

/// Connects to the connection's backend; fails when it refuses, cannot be reached or lets the time pass.
async fn connect(here: &Here, conn: &Conn) -> io::Result<TcpStream> {
    let to = conn.upstream;
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking().cloexec(), None)?;
    if let Some(source) = here.shared.source(to) {
        super::sys::set_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    let begun = match socket.connect(&to.into()) {
        Err(e) if e.raw_os_error() == Some(libc::EADDRNOTAVAIL) => connect_from_below(to, here.shared.source(to))?,
        Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => return Err(e),
        _ => socket,
    };
    let stream = TcpStream::from_std(begun.into())?;
    let ready = answer(&stream, conn).await?;
    if ready.is_error() || ready.is_write_closed() {
        let e = stream.take_error()?;
        return Err(e.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()));
    }
    Ok(stream)
}

/// The kernel has no ephemeral port left towards this backend, most of them waiting out closed connections: tries some
/// below that range.
fn connect_from_below(to: SocketAddr, source: Option<IpAddr>) -> io::Result<Socket> {
    let any = if to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for _ in 0..PORT_TRIES {
        let port = rand::random_range(BELOW_EPHEMERAL);
        let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking().cloexec(), None)?;
        socket.set_reuse_address(true)?;
        let bound = socket.bind(&SocketAddr::new(source.unwrap_or(any), port).into());
        match bound.and_then(|()| socket.connect(&to.into())) {
            Ok(()) => return Ok(socket),
            Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => return Ok(socket),
            Err(e) if matches!(e.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE)) => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

/// Waits for the outcome of connecting.
async fn answer(stream: &TcpStream, conn: &Conn) -> io::Result<Ready> {
    let mut ready = pin!(stream.ready(Interest::WRITABLE | Interest::ERROR));
    std::future::poll_fn(|cx| match conn.signal(cx.waker()) {
        Some(Signal::TimedOut | Signal::Idle) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        Some(Signal::Over) => Poll::Ready(Err(io::Error::other("the backend's time is over"))),
        None => ready.as_mut().poll(cx),
    })
    .await
}

/// Ends a connection by a TCP reset instead of a FIN.
pub(super) fn reset(stream: TcpStream) {
    let _already_gone = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    drop(stream);
}
