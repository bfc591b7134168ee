//! The daemon's life: start in order, serve until told to end, end in order.

use anyhow::Context as _;
use lb_api::Claim;
use lb_api::server::Server;
use lb_control::{Controller, ControllerOptions, Handle};
use lb_dataplane::{PlaneKind, Started};
use lb_observe::{Endpoint, Exporter};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use super::metrics;
use super::setting::Setting;
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

/// Until the daemon ends; the line to print last.
pub(super) async fn live(setting: Setting, claim: Claim) -> Result<String, Failure> {
    let mut signals = Signals::catch()?;
    let Setting { desired, host, source, why, mut notes } = setting;
    let endpoint = match host.metrics {
        Some(address) => Some(Endpoint::bind(address).await.map_err(Failure::refused)?),
        None => None,
    };
    let mut started = lb_dataplane::start(&host).map_err(Failure::refused)?;
    if let Some(why) = why {
        started.reason = why.to_owned();
    }
    started.notes.extend(what_root_would_add(&started));
    notes.extend(started.notes.iter().cloned());
    let said = say_started(&started, claim.path());
    let (handle, control) = Controller::start(ControllerOptions {
        desired,
        source,
        plane: started.plane,
        plane_reason: started.reason,
        notes,
    })
    .map_err(Failure::refused)?;
    let server = Server::start(claim, handle.clone()).context("the control socket cannot be served")?;
    let exporter = endpoint.map(|e| serve_metrics(e, &handle));
    notify(&[NotifyState::Ready, NotifyState::Status(&said)]);
    let end = serve(&mut signals, &handle, control).await;
    notify(&[NotifyState::Stopping]);
    let last = match end {
        End::Asked => handle.shutdown().await,
        End::Detached => "detached: nothing is left on the interfaces".to_owned(),
    };
    server.stop().await;
    drop(exporter);
    Ok(last)
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
}

async fn serve(signals: &mut Signals, handle: &Handle, mut control: JoinHandle<()>) -> End {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return End::Asked,
            _ = signals.interrupt.recv() => return End::Asked,
            _ = signals.hangup.recv() => reload(handle).await,
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
