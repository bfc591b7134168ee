//! A worker: one thread with a runtime of its own, which accepts, carries and ages its share of the traffic. Nothing
//! that carries traffic moves between workers.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use lb_model::{Name, Protocol};
use socket2::Socket;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use super::live::LiveService;
use super::shared::{Own, Shared};
use super::tcp::{self, Door, Here};
use super::udp::{self, Port};

/// Between two rounds of housekeeping.
const ROUND: Duration = Duration::from_millis(100);
const ROUNDS_PER_SECOND: u64 = 10;
/// Connections and sessions looked at in a round at least; beyond them a tenth.
const SLICE: usize = 4096;
/// How long the control side waits for a worker to have closed something.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
enum Command {
    Open {
        service: Arc<LiveService>,
        protocol: Protocol,
        sockets: Vec<(SocketAddr, Socket)>,
    },
    Close {
        protocol: Protocol,
        addresses: Vec<SocketAddr>,
        service: Arc<LiveService>,
        done: SyncSender<()>,
    },
    /// End whatever is over, now.
    Sweep,
}

/// The control side's hold on a worker; dropping it ends the worker.
#[derive(Debug)]
pub(super) struct Worker {
    commands: Option<UnboundedSender<Command>>,
    pub(super) own: Arc<Own>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn start(index: usize, shared: Arc<Shared>, sessions: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let own = Arc::new(Own::new(sessions));
        own.now.set(shared.clock.millis());
        let (commands, receiver) = unbounded_channel();
        let here = Here { shared, own: own.clone() };
        let thread = std::thread::Builder::new()
            .name(format!("lb-worker-{index}"))
            .spawn(move || runtime.block_on(work(here, receiver)))?;
        Ok(Self { commands: Some(commands), own, thread: Some(thread) })
    }

    fn tell(&self, command: Command) {
        // A worker that has ended has nothing left to open or close.
        let _ended = self.commands.as_ref().map(|c| c.send(command));
    }

    pub(super) fn open(&self, service: &Arc<LiveService>, protocol: Protocol, sockets: Vec<(SocketAddr, Socket)>) {
        self.tell(Command::Open { service: service.clone(), protocol, sockets });
    }

    /// Asks for addresses to be closed; the receiver hears when they are.
    pub(super) fn close(&self, service: &Arc<LiveService>, protocol: Protocol, addresses: &[SocketAddr]) -> Closing {
        let (done, closed) = sync_channel(1);
        self.tell(Command::Close { protocol, addresses: addresses.to_vec(), service: service.clone(), done });
        Closing(closed)
    }

    pub(super) fn sweep(&self) {
        self.tell(Command::Sweep);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// Addresses on their way to being closed.
#[derive(Debug)]
pub(super) struct Closing(Receiver<()>);

impl Closing {
    pub(super) fn wait(self) {
        if self.0.recv_timeout(PATIENCE).is_err() {
            tracing::warn!("a worker takes long to close its sockets");
        }
    }
}

/// Something open in this worker.
#[derive(Debug)]
enum Open {
    Tcp(Arc<Door>, AbortHandle),
    Udp(Arc<Port>, AbortHandle),
}

/// By address, protocol and service: two services may share an address while one takes it over from the other.
type Doors = HashMap<(SocketAddr, Protocol, Name), Open>;

async fn work(here: Here, mut commands: UnboundedReceiver<Command>) {
    let mut doors = Doors::new();
    let mut rounds = 0u64;
    let mut round = tokio::time::interval(ROUND);
    round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(c) => obey(&here, &mut doors, c).await,
                None => return,
            },
            _ = round.tick() => {
                housekeep(&here, SLICE);
                rounds += 1;
                if rounds.is_multiple_of(ROUNDS_PER_SECOND) {
                    count_overflow(&doors);
                }
            }
        }
    }
}

async fn obey(here: &Here, doors: &mut Doors, command: Command) {
    match command {
        Command::Open { service, protocol, sockets } => {
            for (address, socket) in sockets {
                match open(here, &service, protocol, address, socket) {
                    Ok(door) => drop(doors.insert((address, protocol, service.name.clone()), door)),
                    Err(e) => tracing::error!(service = %service.name, listen = %address, error = %e, "cannot serve"),
                }
            }
        }
        Command::Close { protocol, addresses, service, done } => {
            for address in addresses {
                if let Some(door) = doors.remove(&(address, protocol, service.name.clone())) {
                    close(here, door, &service, address);
                }
            }
            // Aborted tasks let go of their sockets when the runtime comes to them.
            tokio::task::yield_now().await;
            let _nobody_waits = done.try_send(());
        }
        Command::Sweep => housekeep(here, usize::MAX),
    }
}

fn open(
    here: &Here,
    service: &Arc<LiveService>,
    protocol: Protocol,
    address: SocketAddr,
    socket: Socket,
) -> io::Result<Open> {
    match protocol {
        Protocol::Tcp => {
            let listener = TcpListener::from_std(socket.into())?;
            let door = Arc::new(Door { service: service.clone(), address, listener });
            let task = tokio::spawn(tcp::serve(here.clone(), door.clone()));
            Ok(Open::Tcp(door, task.abort_handle()))
        }
        Protocol::Udp => {
            let socket = UdpSocket::from_std(socket.into())?;
            let port = Arc::new(Port::new(service.clone(), address, socket));
            let task = tokio::spawn(udp::serve(here.clone(), port.clone()));
            Ok(Open::Udp(port, task.abort_handle()))
        }
    }
}

/// TCP connections go on, and whoever waits to be accepted still is; UDP sessions end with their address.
fn close(here: &Here, open: Open, service: &Arc<LiveService>, address: SocketAddr) {
    match open {
        Open::Tcp(door, task) => {
            tcp::empty_queue(here, &door);
            task.abort();
        }
        Open::Udp(port, task) => {
            port.count_overflow();
            task.abort();
            let ended =
                here.own.sessions().close_where(|s| s.key.vip == address && Arc::ptr_eq(&s.held.held.service, service));
            drop(ended);
        }
    }
}

fn count_overflow(doors: &Doors) {
    for door in doors.values() {
        if let Open::Udp(port, _) = door {
            port.count_overflow();
        }
    }
}

/// Ages connections and sessions.
fn housekeep(here: &Here, slice: usize) {
    let now = here.shared.clock.millis();
    here.own.now.set(now);
    here.own.conns.sweep(now, slice);
    let mut sessions = here.own.sessions();
    let budget = slice.max(sessions.len() / 10);
    let ended = sessions.sweep(now, budget, |s| s.held.service.settings().idle, |s| s.held.is_over(now));
    drop(sessions);
    drop(ended);
}
