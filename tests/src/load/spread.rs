//! Many flows at once, each from a source of its own: who answered each, and did the answer come from where it should.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{StreamExt, stream};
use nix::sys::socket::{setsockopt, sockopt};

use super::lines::Talk;
use crate::clock;
use crate::lab::Host;
use crate::lab::addresses::{CLIENTS, Family, flow_source};

/// TCP connections or UDP datagrams under way at the same time.
const AT_ONCE: usize = 64;
const BOUND: Duration = Duration::from_secs(5);
const FAILURES_KEPT: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub const BOTH: [Self; 2] = [Self::Tcp, Self::Udp];
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Flows to open: number `first` up to `first + count`, by which their sources go.
#[derive(Clone, Copy, Debug)]
pub struct Flows {
    to: SocketAddr,
    protocol: Protocol,
    first: u32,
    count: u32,
    stride: u32,
    patience: Duration,
    held: usize,
}

impl Flows {
    #[must_use]
    pub const fn new(to: SocketAddr, protocol: Protocol, first: u32, count: u32) -> Self {
        Self { to, protocol, first, count, stride: 1, patience: BOUND, held: 0 }
    }
    /// All from the address of flow `first`, from other ports.
    #[must_use]
    pub const fn of_one_client(self) -> Self {
        Self { stride: CLIENTS, ..self }
    }
    /// How long an answer may take, where none is looked for.
    #[must_use]
    pub const fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }
    /// TCP: so many stay open; each further one closes the oldest. Balancing by load needs a load to go by.
    #[must_use]
    pub const fn held(self, held: usize) -> Self {
        Self { held, ..self }
    }
}

/// Who answered.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// By the source of the flow.
    pub placed: Vec<(SocketAddr, String)>,
    pub failed: usize,
    /// The first of them, in words.
    pub failures: Vec<String>,
}

impl Outcome {
    #[must_use]
    pub fn by_backend(&self) -> BTreeMap<String, usize> {
        let mut out = BTreeMap::new();
        for (_, name) in &self.placed {
            *out.entry(name.clone()).or_default() += 1;
        }
        out
    }

    fn add(&mut self, from: SocketAddr, result: Result<String>) {
        match result {
            Ok(name) => self.placed.push((from, name)),
            Err(e) => {
                self.failed += 1;
                if self.failures.len() < FAILURES_KEPT {
                    self.failures.push(format!("{e:#}"));
                }
            }
        }
    }
}

/// Opens the flows from `host` and closes each when it was answered.
///
/// # Errors
/// If the host's sockets cannot be had; failures of flows are in the outcome.
pub fn spread(host: &Host, flows: Flows) -> Result<Outcome> {
    host.inside(|| match flows.protocol {
        Protocol::Tcp => super::runtime()?.block_on(tcp(flows)),
        Protocol::Udp => udp(flows),
    })?
}

fn sources(flows: Flows) -> impl Iterator<Item = SocketAddr> {
    let family = if flows.to.is_ipv4() { Family::V4 } else { Family::V6 };
    (0..flows.count).map(move |n| flow_source(flows.first + n * flows.stride, family))
}

async fn tcp(flows: Flows) -> Result<Outcome> {
    let asked = stream::iter(sources(flows)).map(|from| async move { (from, ask(from, flows).await) });
    let mut answered = asked.buffer_unordered(AT_ONCE);
    let mut out = Outcome::default();
    let mut open = VecDeque::new();
    while let Some((from, result)) = answered.next().await {
        out.add(
            from,
            result.map(|(name, talk)| {
                open.push_back(talk);
                name
            }),
        );
        if open.len() > flows.held
            && let Some(oldest) = open.pop_front()
        {
            oldest.reset()?;
        }
    }
    open.into_iter().try_for_each(Talk::reset)?;
    Ok(out)
}

async fn ask(from: SocketAddr, flows: Flows) -> Result<(String, Talk)> {
    let Flows { to, patience, .. } = flows;
    let mut talk = Talk::open(from, to, patience).await?;
    let who = tokio::time::timeout(patience, talk.who()).await;
    let (name, _) =
        who.with_context(|| format!("{from} -> {to}: no answer"))?.with_context(|| format!("{from} -> {to}"))?;
    Ok((name, talk))
}

fn udp(flows: Flows) -> Result<Outcome> {
    let mut out = Outcome::default();
    let mut sources = sources(flows).peekable();
    while sources.peek().is_some() {
        let batch: Vec<(SocketAddr, UdpSocket)> =
            sources.by_ref().take(AT_ONCE).map(|from| Ok((from, bound(from)?))).collect::<Result<_>>()?;
        for (from, socket) in &batch {
            socket.send_to(from.to_string().as_bytes(), flows.to).with_context(|| format!("{from} -> {}", flows.to))?;
        }
        let sent = clock::now();
        for (from, socket) in &batch {
            // Patience is the batch's: what has not come by then has not come.
            let left = flows.patience.saturating_sub(sent.elapsed()).max(Duration::from_millis(1));
            socket.set_read_timeout(Some(left))?;
            out.add(*from, answer(socket, *from, flows.to));
        }
    }
    Ok(out)
}

fn bound(from: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(from).with_context(|| format!("cannot bind {from}"))?;
    setsockopt(&socket, sockopt::RcvBuf, &(16 << 10))?;
    Ok(socket)
}

/// The name before the echo, if the answer is whole and comes from the service's address. The socket is not connected, so
/// that an answer from elsewhere is seen.
pub(crate) fn answer(socket: &UdpSocket, from: SocketAddr, to: SocketAddr) -> Result<String> {
    let mut buffer = [0; 512];
    let (n, peer) = match socket.recv_from(&mut buffer) {
        Ok(got) => got,
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => bail!("{from} -> {to}: no answer"),
        Err(e) => return Err(e).with_context(|| format!("{from} -> {to}")),
    };
    if peer != to {
        bail!("{from} -> {to}: the answer came from {peer}");
    }
    let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
    match text.split_once(' ') {
        Some((name, echo)) if echo == from.to_string() => Ok(name.to_owned()),
        _ => bail!("{from} -> {to}: the answer is '{text}'"),
    }
}
