//! A backend: TCP lines, HTTP and UDP on one host of the lab, until told to stop.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;

use super::{http, lines, udp};
use crate::lab::Host;

/// What a backend listens on; each port on both families.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    pub lines: Vec<u16>,
    pub http: Vec<u16>,
    pub udp: Vec<u16>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) name: String,
    pub(crate) healthy: AtomicBool,
    pub(crate) stop: AtomicBool,
    pub(crate) stopped: Notify,
    pub(crate) accepted: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) datagrams: AtomicU64,
}

/// A running backend; it stops when dropped, and its connections are cut as those of a killed process.
#[derive(Debug)]
pub struct Server {
    state: Arc<State>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Server {
    /// A backend on `host` under the host's name; it listens when this returns.
    ///
    /// # Errors
    /// If a port cannot be had.
    pub fn start(host: &Host, ports: &Ports) -> Result<Self> {
        Self::run(host.name(), ports, |job| host.start(job))
    }

    /// A backend in the namespace where the caller is.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_here(name: &str, ports: &Ports) -> Result<Self> {
        Self::run(name, ports, |job| std::thread::Builder::new().spawn(job).context("cannot start a thread"))
    }

    fn run(name: &str, ports: &Ports, start: impl Fn(Job) -> Result<JoinHandle<Result<()>>>) -> Result<Self> {
        let state = Arc::new(State {
            name: name.to_owned(),
            healthy: AtomicBool::new(true),
            stop: AtomicBool::new(false),
            stopped: Notify::new(),
            accepted: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            datagrams: AtomicU64::new(0),
        });
        let (ready, listening) = mpsc::channel();
        let mut threads = Vec::new();
        let tcp = (Arc::clone(&state), ports.clone(), ready.clone());
        threads.push(start(Box::new(move || serve_tcp(&tcp.0, &tcp.1, &tcp.2)))?);
        for (port, v6) in ports.udp.iter().flat_map(|p| [(*p, false), (*p, true)]) {
            let (state, ready) = (Arc::clone(&state), ready.clone());
            threads.push(start(Box::new(move || {
                let socket = udp::bind(port, v6)?;
                ready.send(()).ok();
                udp::serve(&socket, &state)
            }))?);
        }
        drop(ready);
        let server = Self { state, threads };
        for _ in 0..server.threads.len() {
            if listening.recv().is_err() {
                return Err(server.end().err().unwrap_or_else(|| anyhow::anyhow!("a backend ended at once")));
            }
        }
        Ok(server)
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.state.name
    }
    /// What `/healthz` says from now on.
    pub fn set_healthy(&self, healthy: bool) {
        self.state.healthy.store(healthy, Ordering::Relaxed);
    }
    /// TCP connections accepted, health probes too.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.state.accepted.load(Ordering::Relaxed)
    }
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::Relaxed)
    }
    #[must_use]
    pub fn datagrams(&self) -> u64 {
        self.state.datagrams.load(Ordering::Relaxed)
    }

    /// Stops as a killed process does: the sockets close, and whatever was on them is cut.
    pub fn stop(self) {
        drop(self);
    }

    fn end(mut self) -> Result<()> {
        self.signal();
        let mut done = Ok(());
        for thread in self.threads.drain(..) {
            done = done.and(thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a backend panicked"))));
        }
        done
    }

    fn signal(&self) {
        self.state.stop.store(true, Ordering::Relaxed);
        self.state.stopped.notify_one();
    }
}

type Job = Box<dyn FnOnce() -> Result<()> + Send>;

impl Drop for Server {
    fn drop(&mut self) {
        self.signal();
        for thread in self.threads.drain(..) {
            if let Ok(Err(e)) = thread.join() {
                eprintln!("backend {}: {e:#}", self.state.name);
            }
        }
    }
}

fn serve_tcp(state: &Arc<State>, ports: &Ports, ready: &mpsc::Sender<()>) -> Result<()> {
    super::runtime()?.block_on(async {
        let kinds = ports.lines.iter().map(|p| (*p, false)).chain(ports.http.iter().map(|p| (*p, true)));
        for (port, is_http) in kinds {
            for listener in
                [listen((Ipv4Addr::UNSPECIFIED, port).into())?, listen((Ipv6Addr::UNSPECIFIED, port).into())?]
            {
                tokio::spawn(accept(listener, is_http, Arc::clone(state)));
            }
        }
        ready.send(()).ok();
        state.stopped.notified().await;
        Ok(())
    })
}

fn listen(at: SocketAddr) -> Result<TcpListener> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if at.is_ipv6() {
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Ipv6V6Only, &true)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(at).with_context(|| format!("cannot bind {at}/tcp"))?;
    Ok(socket.listen(4096)?)
}

async fn accept(listener: TcpListener, is_http: bool, state: Arc<State>) {
    loop {
        // An error of accept is the client's (it left before) or a shortage that passes.
        let Ok((stream, _)) = listener.accept().await else { continue };
        state.accepted.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(serve(stream, is_http, Arc::clone(&state)));
    }
}

/// What a client does to its connection is its affair: the client's side is where failures are counted.
async fn serve(stream: TcpStream, is_http: bool, state: Arc<State>) {
    let _ = if is_http { http::serve(stream, state).await } else { lines::serve(stream, &state.name).await };
}
