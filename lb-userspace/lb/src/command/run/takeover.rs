//! `lb run --takeover`: everything that a running lb holds goes to a new one, which says when it serves; until then the
//! old one can go on as if nothing had been.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use lb_api::wire::{Done, TakeoverDoc};
use lb_api::{Claim, Client};
use lb_control::{Handle, Inherited};
use lb_observe::Endpoint;

use super::parcel::{self, Label, Parcel, What};
use crate::exit::Failure;

/// For the descriptors to come, once they were promised.
const SENDING: Duration = Duration::from_secs(20);
/// For the new process to serve: files to read, names to resolve, a data plane to start.
const STARTING: Duration = Duration::from_secs(120);

/// What the old process has given.
#[derive(Debug)]
pub(super) struct Taken {
    stream: UnixStream,
    pub(super) inherited: Vec<Inherited>,
    pub(super) metrics: Option<(SocketAddr, TcpListener)>,
    output: Option<(OwnedFd, OwnedFd)>,
}

/// Asks the lb on this control socket for all it holds.
pub(super) async fn ask(socket: &Path) -> Result<(Claim, Taken), Failure> {
    let waiting = Waiting::bind(socket).context("cannot wait for the running lb").map_err(Failure::Refused)?;
    let document = TakeoverDoc { path: waiting.path.display().to_string() };
    let _: Done = Client::new(socket).post("/v1/takeover", &document).await?;
    let received = tokio::task::spawn_blocking(move || waiting.receive()).await;
    let (stream, parcels) = received
        .map_err(io::Error::other)
        .and_then(|r| r)
        .context("the running lb gave nothing")
        .map_err(Failure::Refused)?;
    unpack(socket, stream, parcels).context("what the running lb gave is of no use").map_err(Failure::Refused)
}

/// Where the new process waits; the file goes with it.
struct Waiting {
    listener: UnixListener,
    path: PathBuf,
}

impl Waiting {
    fn bind(socket: &Path) -> io::Result<Self> {
        let mut name = socket.as_os_str().to_owned();
        name.push(format!(".takeover-{}", std::process::id()));
        let path = std::path::absolute(PathBuf::from(name))?;
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    fn receive(self) -> io::Result<(UnixStream, Vec<Parcel>)> {
        // It has connected before it answered, or does at once.
        let wait = rustix::event::Timespec { tv_sec: SENDING.as_secs().cast_signed(), tv_nsec: 0 };
        let mut polled = [rustix::event::PollFd::new(&self.listener, rustix::event::PollFlags::IN)];
        if rustix::event::poll(&mut polled, Some(&wait))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let (stream, _) = self.listener.accept()?;
        stream.set_read_timeout(Some(SENDING))?;
        let parcels = parcel::receive(&stream)?;
        Ok((stream, parcels))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Gone already, or of no more use.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn unpack(socket: &Path, stream: UnixStream, parcels: Vec<Parcel>) -> io::Result<(Claim, Taken)> {
    let (mut control, mut lock, mut stdout, mut stderr) = (None, None, None, None);
    let mut taken = Taken { stream, inherited: Vec::new(), metrics: None, output: None };
    for (Label { what, address }, fd) in parcels {
        match (what, address) {
            (What::Control, _) => control = Some(fd),
            (What::Lock, _) => lock = Some(fd),
            (What::Stdout, _) => stdout = Some(fd),
            (What::Stderr, _) => stderr = Some(fd),
            (What::Metrics, Some(address)) => taken.metrics = Some((address, fd.into())),
            (What::Tcp | What::Udp, Some(address)) => {
                taken.inherited.push(Inherited { address, udp: what == What::Udp, socket: fd });
            }
            (What::Metrics | What::Tcp | What::Udp, None) => return Err(io::Error::other("a socket without address")),
        }
    }
    taken.output = stdout.zip(stderr);
    let (control, lock) = control.zip(lock).ok_or_else(|| io::Error::other("no control socket"))?;
    Ok((Claim::inherited(socket, control, lock)?, taken))
}

impl Taken {
    /// This process serves: the old one may go. Where nobody waits in the foreground, what is printed from now on goes where
    /// the old one's went.
    pub(super) fn serves(self, in_foreground: bool) -> io::Result<()> {
        (&self.stream).write_all(format!("serving {}\n", std::process::id()).as_bytes())?;
        if !in_foreground && let Some((stdout, stderr)) = self.output {
            nix::unistd::dup2_stdout(stdout)?;
            nix::unistd::dup2_stderr(stderr)?;
        }
        Ok(())
    }
}

/// What this process can give, apart from what the control plane knows.
#[derive(Debug, Default)]
pub(super) struct Gifts(Vec<Parcel>);

impl Gifts {
    pub(super) fn new(claim: &Claim, metrics: Option<&Endpoint>) -> io::Result<Self> {
        let (control, lock) = claim.duplicates()?;
        let plain = |what| Label { what, address: None };
        let mut all = vec![(plain(What::Control), control), (plain(What::Lock), lock)];
        if let Some(endpoint) = metrics {
            all.push((Label { what: What::Metrics, address: Some(endpoint.address()) }, endpoint.duplicate()?));
        }
        Ok(Self(all))
    }

    fn duplicates(&self) -> io::Result<Vec<Parcel>> {
        let kept = self.0.iter().map(|(label, fd)| Ok((*label, fd.try_clone()?)));
        let mut all: Vec<Parcel> = kept.collect::<io::Result<_>>()?;
        // Not before now: what this process prints to has been another's since it began, if it was a takeover's.
        let plain = |what| Label { what, address: None };
        all.push((plain(What::Stdout), io::stdout().as_fd().try_clone_to_owned()?));
        all.push((plain(What::Stderr), io::stderr().as_fd().try_clone_to_owned()?));
        Ok(all)
    }
}

/// The old process's side. The number of the process that serves now; `None`: it failed, and this one goes on.
pub(super) async fn give(ask: lb_api::server::Takeover, handle: &Handle, gifts: &Gifts) -> Option<u32> {
    let sockets = match handle.hand_over().await {
        Ok(sockets) => sockets,
        Err(error) => {
            // An asker who has gone away is no matter.
            let _ = ask.reply.send(Err(error.to_string()));
            return None;
        }
    };
    let outcome = hand(ask, sockets, gifts).await;
    match outcome {
        Ok(pid) => Some(pid),
        Err(why) => {
            tracing::warn!("the takeover failed: {why}");
            handle.take_back().await;
            None
        }
    }
}

async fn hand(ask: lb_api::server::Takeover, sockets: Vec<Inherited>, gifts: &Gifts) -> io::Result<u32> {
    let socket = |s: Inherited| {
        let what = if s.udp { What::Udp } else { What::Tcp };
        (Label { what, address: Some(s.address) }, s.socket)
    };
    let (parcels, stream) = match gifts.duplicates().and_then(|g| Ok((g, UnixStream::connect(&ask.path)?))) {
        Ok(both) => both,
        Err(why) => {
            let _ = ask.reply.send(Err(format!("cannot hand over: {why}")));
            return Err(why);
        }
    };
    let parcels: Vec<Parcel> = parcels.into_iter().chain(sockets.into_iter().map(socket)).collect();
    let _ = ask.reply.send(Ok("sockets follow".to_owned()));
    tokio::task::spawn_blocking(move || {
        stream.set_write_timeout(Some(SENDING))?;
        stream.set_read_timeout(Some(STARTING))?;
        parcel::send(&stream, &parcels)?;
        let mut said = String::new();
        BufReader::new(&stream).read_line(&mut said)?;
        let pid = said.strip_prefix("serving ").and_then(|p| p.trim().parse().ok());
        pid.ok_or_else(|| io::Error::other("the new process ended before it served"))
    })
    .await
    .map_err(io::Error::other)?
}
