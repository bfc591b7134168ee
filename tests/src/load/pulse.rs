//! Long-lived flows that ask again and again: what must not break while something else changes.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::net::UdpSocket;

use super::lines::Talk;
use super::spread::Protocol;
use crate::clock;
use crate::lab::Host;
use crate::lab::addresses::{Family, flow_source};

const BOUND: Duration = Duration::from_secs(5);
const RESEND: Duration = Duration::from_millis(200);

/// One flow's life.
#[derive(Clone, Debug)]
pub struct Beat {
    pub from: SocketAddr,
    /// Who answered first.
    pub backend: String,
    pub answers: u64,
    /// When another backend took over (UDP only: a TCP connection cannot outlive its backend).
    pub moved: Option<(Instant, String)>,
    pub failure: Option<(Instant, String)>,
}

/// Flows under way; [`Pulse::stop`] ends them and says how they fared.
#[derive(Debug)]
pub struct Pulse {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Vec<Beat>>>>,
    first: Vec<(SocketAddr, String)>,
}

impl Pulse {
    /// Opens `count` flows from `host` and returns when each has its first answer; each then asks `every` so often.
    ///
    /// # Errors
    /// If one gets no answer.
    pub fn start(
        host: &Host,
        to: SocketAddr,
        protocol: Protocol,
        first: u32,
        count: u32,
        every: Duration,
    ) -> Result<Self> {
        Self::open(host, to, protocol, first..first + count, every, BOUND)
    }

    /// UDP flows that send again what was not answered, as applications do that mind a loss.
    ///
    /// # Errors
    /// As [`Pulse::start`].
    pub fn start_resending(host: &Host, to: SocketAddr, first: u32, count: u32, every: Duration) -> Result<Self> {
        Self::open(host, to, Protocol::Udp, first..first + count, every, RESEND)
    }

    fn open(
        host: &Host,
        to: SocketAddr,
        protocol: Protocol,
        numbers: Range<u32>,
        every: Duration,
        resend: Duration,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, standing) = mpsc::channel();
        let told = Arc::clone(&stop);
        let thread = host.start(move || {
            super::runtime()?.block_on(async {
                let mut flows = Vec::new();
                for n in numbers {
                    flows.push(Flow::open(n, to, protocol, resend).await?);
                }
                ready.send(flows.iter().map(|f| (f.from, f.backend.clone())).collect::<Vec<_>>()).ok();
                Ok(futures_util::future::join_all(flows.into_iter().map(|f| f.live(every, &told))).await)
            })
        })?;
        match standing.recv() {
            Ok(first) => Ok(Self { stop, thread: Some(thread), first }),
            Err(_) => match thread.join() {
                Ok(Err(e)) => Err(e.context("the long-lived flows could not be opened")),
                _ => bail!("the long-lived flows ended at once"),
            },
        }
    }

    /// Who answered each flow first.
    #[must_use]
    pub fn placed(&self) -> &[(SocketAddr, String)] {
        &self.first
    }

    /// How many flows are on `backend`.
    #[must_use]
    pub fn on(&self, backend: &str) -> usize {
        self.first.iter().filter(|(_, b)| b == backend).count()
    }

    /// Ends the flows in order.
    ///
    /// # Errors
    /// If the flows' thread failed as a whole.
    pub fn stop(mut self) -> Result<Vec<Beat>> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("stopped twice")?;
        thread.join().map_err(|_| anyhow::anyhow!("the long-lived flows panicked"))?
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

enum Wire {
    Tcp(Talk),
    Udp(UdpSocket),
}

struct Flow {
    from: SocketAddr,
    to: SocketAddr,
    backend: String,
    wire: Wire,
    resend: Duration,
}

impl Flow {
    async fn open(n: u32, to: SocketAddr, protocol: Protocol, resend: Duration) -> Result<Self> {
        let from = flow_source(n, if to.is_ipv4() { Family::V4 } else { Family::V6 });
        let wire = match protocol {
            Protocol::Tcp => Wire::Tcp(Talk::open(from, to, BOUND).await?),
            Protocol::Udp => Wire::Udp(UdpSocket::bind(from).await?),
        };
        let mut flow = Self { from, to, backend: String::new(), wire, resend };
        flow.backend = flow.ask(0).await.with_context(|| format!("{from} -> {to}"))?;
        // Twice, so that a UDP flow is one that the client came back on.
        flow.ask(1).await.with_context(|| format!("{from} -> {to}"))?;
        Ok(flow)
    }

    async fn live(mut self, every: Duration, stop: &AtomicBool) -> Beat {
        let mut beat = Beat { from: self.from, backend: self.backend.clone(), answers: 2, moved: None, failure: None };
        while !stop.load(Ordering::Relaxed) && beat.failure.is_none() {
            tokio::time::sleep(every).await;
            match self.ask(beat.answers).await {
                Ok(name) => {
                    beat.answers += 1;
                    if name != self.backend {
                        beat.moved = Some((clock::now(), name.clone()));
                        self.backend = name;
                    }
                }
                Err(e) => beat.failure = Some((clock::now(), format!("{} -> {}: {e:#}", self.from, self.to))),
            }
        }
        if let Wire::Tcp(talk) = self.wire
            && beat.failure.is_none()
            && let Err(e) = talk.bye().await
        {
            beat.failure = Some((clock::now(), format!("{} -> {}: closing: {e:#}", self.from, self.to)));
        }
        beat
    }

    async fn ask(&mut self, turn: u64) -> Result<String> {
        tokio::time::timeout(BOUND, async {
            match &mut self.wire {
                Wire::Tcp(talk) => {
                    talk.echo(turn % 3000 + 1).await?;
                    Ok(talk.who().await?.0)
                }
                Wire::Udp(socket) => ask_udp(socket, self.to, turn, self.resend).await,
            }
        })
        .await
        .map_err(|_| anyhow::anyhow!("no answer within {BOUND:?}"))?
    }
}

async fn ask_udp(socket: &UdpSocket, to: SocketAddr, turn: u64, resend: Duration) -> Result<String> {
    let text = turn.to_string();
    let mut buffer = [0; 256];
    loop {
        socket.send_to(text.as_bytes(), to).await?;
        let Ok(got) = tokio::time::timeout(resend, socket.recv_from(&mut buffer)).await else { continue };
        let (n, peer) = got?;
        let answer = String::from_utf8_lossy(&buffer[..n]);
        match answer.split_once(' ') {
            Some((name, echo)) if echo == text && peer == to => return Ok(name.to_owned()),
            // The late answer to what was sent again.
            Some((_, echo)) if resend < BOUND && peer == to && echo.parse().is_ok_and(|t: u64| t < turn) => {}
            _ => bail!("asked {text}, got '{answer}' from {peer}"),
        }
    }
}
