//! `lb run`: the daemon, in the foreground.

mod detached;
mod later;
mod life;
mod metrics;
mod parcel;
mod self_signed;
mod setting;
mod takeover;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use lb_api::{Claim, ClaimError};
use lb_model::PlaneChoice;

use super::check;
use crate::cli::Global;
use crate::exit::{Failure, Outcome};
use crate::place;

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["config", "listen"]))]
pub(crate) struct Run {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve this without a file, e.g. 192.0.2.10:80/tcp, or https://192.0.2.10 for layer 7 (repeatable)
    #[arg(long, value_name = "LISTEN", conflicts_with = "config", requires = "backend")]
    listen: Vec<String>,
    /// A backend, e.g. 10.0.0.11:80 (repeatable)
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "config")]
    backend: Vec<String>,
    /// The interface that packets arrive on (repeatable)
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    interface: Vec<String>,
    /// The certificate of https:// listeners, PEM [default: a self-signed one]
    #[arg(long, value_name = "FILE", conflicts_with = "config", requires = "key")]
    cert: Option<PathBuf>,
    /// The certificate's key, PEM
    #[arg(long, value_name = "FILE", conflicts_with = "config", requires = "cert")]
    key: Option<PathBuf>,
    /// The data plane; only auto falls back [default: auto]
    #[arg(long, value_name = "KIND", conflicts_with = "config")]
    data_plane: Option<Kind>,
    /// Where changes made by command line are kept
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    state_dir: Option<PathBuf>,
    /// Where the kernel's objects are pinned
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pin_dir: Option<PathBuf>,
    /// Serve Prometheus metrics here, e.g. 127.0.0.1:9901
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "config")]
    metrics: Option<SocketAddr>,
    /// Replace the running one without losing anything; returns when the new one serves, in the background
    #[arg(long)]
    takeover: bool,
    /// With --takeover: stay in the foreground
    #[arg(long, requires = "takeover")]
    foreground: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Auto,
    Xdp,
    XdpGeneric,
    Userspace,
}

impl From<Kind> for PlaneChoice {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Auto => Self::Auto,
            Kind::Xdp => Self::Xdp,
            Kind::XdpGeneric => Self::XdpGeneric,
            Kind::Userspace => Self::Userspace,
        }
    }
}

pub(crate) fn run(args: &Run, global: &Global) -> Outcome {
    let line = detached::Line::take().transpose().context("no line to the command").map_err(Failure::Refused)?;
    if args.takeover && !args.foreground && line.is_none() {
        return detached::start(global);
    }
    lb_observe::log::init(global.json).map_err(Failure::wrong)?;
    let mut setting = match &args.config {
        Some(file) => setting::from_file(file).map_err(|errors| check::say(&errors, global))?,
        None => setting::from_flags(args)?,
    };
    setting.settle_state_dir();
    setting.settle_pin_dir();
    setting.make_certificate()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("the runtime cannot be started")?;
    let ended = runtime.block_on(async {
        // Before anything of the data plane is touched: it may be another's.
        let (claim, taken) = if args.takeover {
            let socket = global.socket.clone().unwrap_or_else(|| setting.host.socket.clone());
            let (claim, taken) = takeover::ask(&socket).await?;
            setting.host.socket = socket;
            (claim, Some(taken))
        } else {
            (claim(&mut setting, global)?, None)
        };
        let begin = life::Begin { claim, taken, line };
        life::live(setting, begin).await
    });
    // Nothing that is left may hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    crate::print::line(&last_line(ended?))
}

/// What the engine says of its end; where nothing is left behind, that too names the command that would take it off.
fn last_line(said: String) -> String {
    if said.contains("lb detach") { said } else { format!("{said}; nothing is left for 'lb detach' to take off") }
}

/// The control socket: as typed, as configured, else the usual place, and for a user who may not write there his own.
fn claim(setting: &mut setting::Setting, global: &Global) -> Result<Claim, Failure> {
    let given = global.socket.is_some();
    let path = global.socket.clone().unwrap_or_else(|| setting.host.socket.clone());
    let usual = path == lb_config::Environment::of_process().socket();
    let claim = match Claim::take(&path) {
        Err(ClaimError::Io { source, .. })
            if !given && usual && source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            let own = place::private_dir().context("no place for a control socket").map_err(Failure::Refused)?;
            tracing::warn!(socket = %own.join("lb.sock").display(), "{} may not be written; the control socket is elsewhere", path.display());
            Claim::take(&own.join("lb.sock"))
        }
        other => other,
    };
    let claim = claim.map_err(|error| match error {
        ClaimError::Held { .. } => Failure::refused(format!(
            "{error}; stop it first ('lb status' shows what it does), or replace it with --takeover"
        )),
        other => Failure::refused(other),
    })?;
    setting.host.socket = claim.path().to_owned();
    Ok(claim)
}
