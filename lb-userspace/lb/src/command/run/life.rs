//! The daemon's life: start in order, serve until told to end, end in order.

use anyhow::Context as _;
use lb_api::Claim;
use lb_api::server::{Server, Takeover};
use lb_control::{ControlError, Controller, ControllerOptions, Handle, HttpOptions};
use lb_dataplane::{PlaneKind, Started};
use lb_model::{Desired, Host};
use lb_observe::{Endpoint, Exporter};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::detached::Line;
use super::later::{self, Later};
use super::metrics;
use super::setting::Setting;
use super::takeover::{self, Gifts, Taken};
use crate::exit::Failure;

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// First of all, so that a signal during the start is not the end by default.
    fn catch() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("signals cannot be caught");
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            hangup: catch(SignalKind::hangup())?,
        })
    }
}

/// What the daemon begins with besides its setting.
#[derive(Debug)]
pub(super) struct Begin {
    pub(super) claim: Claim,
    /// What the lb that is replaced has given.
    pub(super) taken: Option<Taken>,
    /// Somebody who waits for this process to serve, and then leaves it alone.
    pub(super) line: Option<Line>,
}

/// Until the daemon ends; the line to print last.
pub(super) async fn live(setting: Setting, begin: Begin) -> Result<String, Failure> {
    let mut signals = Signals::catch()?;
    let Setting { desired, host, source, why, mut notes } = setting;
    let Begin { mut claim, mut taken, line } = begin;
    let endpoint = metrics_endpoint(&host, taken.as_mut()).await?;
    let started = start_plane(&desired, &host, why, taken.is_some())?;
    notes.extend(started.notes.iter().cloned());
    let said = say_started(&started, claim.path());
    let gifts = Gifts::new(&claim, endpoint.as_ref()).context("descriptors cannot be duplicated")?;
    let inherited = taken.as_mut().map(|t| std::mem::take(&mut t.inherited)).unwrap_or_default();
    let (handle, control) = Controller::start(ControllerOptions {
        desired,
        source,
        plane: started.plane,
        plane_reason: started.reason,
        notes,
        http: HttpOptions { workers: 0, inherited },
        host_in_force: host,
    })
    .map_err(|error| match error {
        ControlError::Files(_) => Failure::wrong(error),
        other => Failure::refused(other),
    })?;
    claim.own();
    let (ask, takeovers) = mpsc::channel(1);
    let server = Server::start_with(claim, handle.clone(), Some(ask)).context("the control socket cannot be served")?;
    let exporter = endpoint.map(|e| serve_metrics(e, &handle));
    notify(&[NotifyState::Ready, NotifyState::Status(&said)]);
    if let Some(taken) = taken {
        taken.serves(line.is_none()).context("the lb that was to be replaced is lost")?;
    }
    if let Some(line) = line {
        line.serves();
    }
    let end = serve(&mut signals, &handle, control, takeovers, &gifts).await;
    let last = match end {
        End::Asked => {
            notify(&[NotifyState::Stopping]);
            let last = last_of(&mut signals, handle.shutdown()).await;
            server.stop().await;
            last
        }
        End::Detached => {
            notify(&[NotifyState::Stopping]);
            server.stop().await;
            "detached: nothing is left on the interfaces".to_owned()
        }
        End::Replaced(pid) => {
            // From the main process, as which the service manager knows this one.
            notify(&[NotifyState::MainPid(pid)]);
            server.leave().await;
            drop(exporter);
            return Ok(last_of(&mut signals, handle.retire()).await);
        }
    };
    drop(exporter);
    Ok(last)
}

/// Waits for an end that lets requests end; a second signal cuts it short.
async fn last_of(signals: &mut Signals, end: impl Future<Output = String>) -> String {
    let hurry = async {
        tokio::select! {
            _ = signals.terminate.recv() => {}
            _ = signals.interrupt.recv() => {}
        }
    };
    tokio::select! {
        last = end => last,
        () = hurry => "cut short by a second signal; 'lb detach' takes off what is left".to_owned(),
    }
}

async fn metrics_endpoint(host: &Host, taken: Option<&mut Taken>) -> Result<Option<Endpoint>, Failure> {
    let Some(address) = host.metrics else { return Ok(None) };
    match taken.and_then(|t| t.metrics.take()) {
        Some((given, listener)) if given == address => {
            Ok(Some(Endpoint::inherited(listener).context("the metrics socket cannot be taken over")?))
        }
        _ => Ok(Some(Endpoint::bind(address).await.map_err(Failure::refused)?)),
    }
}

/// `beside`: an lb that is about to be replaced still runs.
fn start_plane(desired: &Desired, host: &Host, why: Option<&str>, beside: bool) -> Result<Started, Failure> {
    if later::needs_none(desired, host) {
        let (plane, reason) = (Box::new(Later::new(host.clone())), later::REASON.to_owned());
        return Ok(Started { plane, reason, notes: Vec::new() });
    }
    let start = if beside { lb_dataplane::start_beside } else { lb_dataplane::start };
    let mut started = start(host).map_err(Failure::refused)?;
    if let Some(why) = why {
        started.reason = why.to_owned();
    }
    started.notes.extend(what_root_would_add(&started));
    Ok(started)
}

fn serve_metrics(endpoint: Endpoint, handle: &Handle) -> Exporter {
    tracing::info!("metrics at http://{}/metrics", endpoint.address());
    let handle = handle.clone();
    endpoint.serve(move || {
        let handle = handle.clone();
        async move { metrics::snapshot(&*handle.view().await) }
    })
}

/// An ordinary user who asked for no data plane in particular hears it from the engine's own reason.
fn what_root_would_add(started: &Started) -> Option<String> {
    let ordinary = !nix::unistd::geteuid().is_root() && started.plane.kind() == PlaneKind::Userspace;
    (ordinary && !started.reason.contains("CAP_")).then(|| {
        "run by an ordinary user; as root (or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN) lb could forward packets in \
         the kernel by XDP on an --interface, and dsr would work"
            .to_owned()
    })
}

/// Which data plane is in force, and why. The falls to it were logged, as warnings, by those who took them.
fn say_started(started: &Started, socket: &std::path::Path) -> String {
    started.notes.iter().for_each(|note| tracing::warn!("{note}"));
    let kind = started.plane.kind().as_str();
    let said = format!("data plane {kind}: {}", started.reason);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "{said}");
    tracing::info!("control socket {}", socket.display());
    said
}

enum End {
    Asked,
    Detached,
    /// By this process.
    Replaced(u32),
}

async fn serve(
    signals: &mut Signals,
    handle: &Handle,
    mut control: JoinHandle<()>,
    mut takeovers: mpsc::Receiver<Takeover>,
    gifts: &Gifts,
) -> End {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return End::Asked,
            _ = signals.interrupt.recv() => return End::Asked,
            _ = signals.hangup.recv() => reload(handle).await,
            Some(ask) = takeovers.recv() => if let Some(pid) = takeover::give(ask, handle, gifts).await {
                return End::Replaced(pid);
            },
            _ = &mut control => return End::Detached,
        }
    }
}

async fn reload(handle: &Handle) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
    // The control plane logs what came of it; a refused one leaves the old configuration in force.
    let said = match handle.reload().await {
        Ok(_) => "reloaded",
        Err(_) => "the last reload was refused; the old configuration is in force",
    };
    notify(&[NotifyState::Ready, NotifyState::Status(said)]);
}

/// Without a service manager nobody listens, and one that does not listen is no reason to end.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
