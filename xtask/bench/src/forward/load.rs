//! The generator: as many connections as there is room for, one after the other, or streams that never end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lb_tests::clock;
use lb_tests::lab::Host;
use lb_tests::lab::addresses::{Family, flow_source};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::pin;

/// What a client asks for, in one byte.
const ONE: u8 = b'1';
const STREAM: u8 = b's';
/// At the same time.
const CONNECTIONS: u32 = 64;
const STREAMS: u32 = 8;
const BLOCK: usize = 64 * 1024;

/// Backends and clients share one CPU; the balancer has the other.
pub(crate) struct Backend {
    stop: Arc<AtomicBool>,
    at: SocketAddr,
    host: Host,
}

impl Backend {
    pub(crate) fn start(host: &Host, at: SocketAddr, cpu: usize) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let (tell, told) = std::sync::mpsc::channel();
        host.start(move || {
            pin::to(cpu)?;
            runtime()?.block_on(async move {
                let socket = TcpSocket::new_v4()?;
                socket.set_reuseaddr(true)?;
                socket.bind(at)?;
                let listener = socket.listen(4096)?;
                let _ = tell.send(());
                serve(listener, &stopped).await
            })
        })?;
        told.recv_timeout(Duration::from_secs(5)).context("a backend does not listen")?;
        Ok(Self { stop, at, host: host.clone() })
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes it up to see that.
        let at = self.at;
        let _ = self.host.inside(|| std::net::TcpStream::connect_timeout(&at, Duration::from_millis(200)).is_ok());
    }
}

async fn serve(listener: TcpListener, stop: &AtomicBool) -> Result<()> {
    let block: Arc<[u8]> = vec![0x61; BLOCK].into();
    while !stop.load(Ordering::Relaxed) {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer(stream, block.clone()));
    }
    Ok(())
}

/// The server closes first, as one that says `Connection: close` does.
async fn answer(mut stream: TcpStream, block: Arc<[u8]>) -> Result<()> {
    stream.set_nodelay(true)?;
    let asked = stream.read_u8().await?;
    if asked == ONE {
        stream.write_u8(ONE).await?;
    } else {
        loop {
            stream.write_all(&block).await?;
        }
    }
    Ok(())
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub(crate) seconds: f64,
    /// Connections, or bytes.
    pub(crate) count: u64,
    pub(crate) failed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Connections,
    Bytes,
}

struct Shared {
    count: AtomicU64,
    failed: AtomicU64,
    stop: AtomicBool,
    next: AtomicU64,
    to: Vec<SocketAddr>,
}

/// Loads `to` from `host` for `warm` and then `time`; only the latter counts. `first` numbers the sources.
pub(crate) struct Load<'a> {
    pub(crate) host: &'a Host,
    pub(crate) to: Vec<SocketAddr>,
    pub(crate) kind: Kind,
    pub(crate) first: u32,
    pub(crate) cpu: usize,
    pub(crate) warm: Duration,
    pub(crate) time: Duration,
}

impl Load<'_> {
    /// `edge` is called where the counted time begins and where it ends.
    pub(crate) fn run<T>(self, mut edge: impl FnMut() -> Result<T>) -> Result<(Done, T, T)> {
        let shared = Arc::new(Shared {
            count: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            next: AtomicU64::new(u64::from(self.first)),
            to: self.to,
        });
        let (theirs, kind, cpu) = (shared.clone(), self.kind, self.cpu);
        let client = self.host.start(move || {
            pin::to(cpu)?;
            runtime()?.block_on(async move {
                let workers = if kind == Kind::Connections { CONNECTIONS } else { STREAMS };
                let tasks: Vec<_> = (0..workers).map(|_| tokio::spawn(work(theirs.clone(), kind))).collect();
                for task in tasks {
                    task.await?;
                }
                Ok(())
            })
        })?;
        clock::pass(self.warm);
        let before = edge()?;
        let start = clock::now();
        let count = shared.count.load(Ordering::Relaxed);
        clock::pass(self.time);
        let counted = shared.count.load(Ordering::Relaxed) - count;
        let seconds = start.elapsed().as_secs_f64();
        let after = edge()?;
        shared.stop.store(true, Ordering::Relaxed);
        client.join().map_err(|_| anyhow::anyhow!("the client panicked"))??;
        if counted == 0 {
            bail!("nothing came through");
        }
        let failed = shared.failed.load(Ordering::Relaxed);
        Ok((Done { seconds, count: counted, failed }, before, after))
    }
}

async fn work(shared: Arc<Shared>, kind: Kind) {
    while !shared.stop.load(Ordering::Relaxed) {
        let n = shared.next.fetch_add(1, Ordering::Relaxed);
        let done = match kind {
            Kind::Connections => {
                tokio::time::timeout(Duration::from_secs(2), one(&shared, n)).await.context("too slow")
            }
            Kind::Bytes => Ok(stream(&shared, n).await),
        };
        if done.flatten().is_err() {
            shared.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn open(shared: &Shared, n: u64) -> Result<TcpStream> {
    let to = shared.to[n as usize % shared.to.len()];
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(flow_source(n as u32, Family::V4))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn one(shared: &Shared, n: u64) -> Result<()> {
    let mut stream = open(shared, n).await?;
    stream.write_u8(ONE).await?;
    if stream.read_u8().await? != ONE {
        bail!("another answer");
    }
    // The end, so that the connection is over on all sides before the next.
    let mut rest = [0; 1];
    if stream.read(&mut rest).await? != 0 {
        bail!("more than asked for");
    }
    shared.count.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

async fn stream(shared: &Shared, n: u64) -> Result<()> {
    let mut stream = open(shared, n).await?;
    stream.write_u8(STREAM).await?;
    let mut block = vec![0; BLOCK];
    while !shared.stop.load(Ordering::Relaxed) {
        match stream.read(&mut block).await? {
            0 => bail!("the stream ended"),
            got => shared.count.fetch_add(got as u64, Ordering::Relaxed),
        };
    }
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
