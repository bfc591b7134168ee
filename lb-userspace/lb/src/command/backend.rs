//! `lb backend`: list, and change what pools hold.

use std::time::Duration;

use clap::{Args, Subcommand};
use lb_api::Client;
use lb_api::client::segment;
use lb_api::wire::{BackendAdd, BackendDoc, BackendDrain, BackendSet, Done};

use super::drain;
use crate::cli::Global;
use crate::exit::{Failure, Outcome};
use crate::print::table::{Cell, Table};
use crate::print::{BAD, DIM, GOOD, PLAIN, WARN, units};
use crate::{daemon, print};

#[derive(Debug, Subcommand)]
pub(crate) enum Backend {
    /// List backends of a pool, or of all, with health and counters
    List {
        /// The pool
        pool: Option<String>,
    },
    /// Add a backend to a pool
    Add {
        #[command(flatten)]
        which: Which,
        /// Share of new flows, 0 to 1000 [default: 1]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
        weight: Option<u32>,
    },
    /// Set a backend's weight; no established flow moves
    Set {
        #[command(flatten)]
        which: Which,
        /// Share of new flows, 0 to 1000; 0: no new flows
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
        weight: u32,
    },
    /// Give a backend no new flows and let its own end
    Drain {
        #[command(flatten)]
        which: Which,
        /// End what is left after this long, e.g. 30s [default: the services' drain_timeout]
        #[arg(long, value_name = "DURATION", value_parser = lb_config::parse_duration)]
        timeout: Option<Duration>,
        /// Wait until it is drained, showing what is left
        #[arg(long)]
        wait: bool,
    },
    /// Take a drain back
    Undrain {
        #[command(flatten)]
        which: Which,
    },
    /// Remove a backend from its pool; it drains first
    Remove {
        #[command(flatten)]
        which: Which,
        /// End its flows at once instead
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The pool
    pub(crate) pool: String,
    /// The backend's address as configured, e.g. 10.0.0.11:80
    pub(crate) address: String,
}

impl Which {
    fn path(&self) -> String {
        format!("/v1/pools/{}/backends/{}", segment(&self.pool), segment(&self.address))
    }
}

pub(crate) fn backend(args: &Backend, global: &Global) -> Outcome {
    daemon::converse(|| async {
        let daemon = daemon::connect(global.socket.as_deref()).await?;
        match args {
            Backend::List { pool } => {
                let list = list(&daemon, pool.as_deref()).await?;
                print::either(global.json, &list, |list| table(list).render())
            }
            Backend::Drain { which, wait: true, timeout } => {
                let _: Done = daemon.post(&format!("{}/drain", which.path()), &body(*timeout)).await?;
                drain::wait(&daemon, which, global.json).await
            }
            other => {
                let done = change(&daemon, other).await?;
                print::either(global.json, &done, |d| format!("{}\n", d.done))
            }
        }
    })
}

async fn change(daemon: &Client, args: &Backend) -> Result<Done, Failure> {
    Ok(match args {
        Backend::List { .. } => return Err(Failure::wrong("a list changes nothing")),
        Backend::Add { which, weight } => {
            let body = BackendAdd { address: which.address.clone(), weight: *weight };
            daemon.post(&format!("/v1/pools/{}/backends", segment(&which.pool)), &body).await?
        }
        Backend::Set { which, weight } => daemon.patch(&which.path(), &BackendSet { weight: *weight }).await?,
        Backend::Drain { which, timeout, .. } => {
            daemon.post(&format!("{}/drain", which.path()), &body(*timeout)).await?
        }
        Backend::Undrain { which } => daemon.post(&format!("{}/undrain", which.path()), &()).await?,
        Backend::Remove { which, force } => daemon.delete(&format!("{}?force={force}", which.path())).await?,
    })
}

fn body(timeout: Option<Duration>) -> BackendDrain {
    BackendDrain { timeout_ms: timeout.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)) }
}

pub(crate) async fn list(daemon: &Client, pool: Option<&str>) -> Result<Vec<BackendDoc>, Failure> {
    let query = pool.map(|p| format!("?pool={}", segment(p))).unwrap_or_default();
    Ok(daemon.get(&format!("/v1/backends{query}")).await?)
}

pub(crate) fn table<'a>(backends: impl IntoIterator<Item = &'a BackendDoc>) -> Table<9> {
    let mut table =
        Table::new(["POOL", "ADDRESS", ">WEIGHT", "STATE", "HEALTH", ">ACTIVE", ">FLOWS", ">PACKETS", ">BYTES"]);
    for b in backends {
        table.push([
            b.pool.clone().into(),
            address(b).into(),
            b.weight.to_string().into(),
            state(b),
            health(b),
            units::count(b.active_flows).into(),
            units::count(b.flows_total).into(),
            units::count(b.packets).into(),
            units::bytes(b.bytes).into(),
        ]);
    }
    table
}

fn address(b: &BackendDoc) -> String {
    match b.resolved.as_deref() {
        Some([]) => format!("{} (unresolved)", b.address),
        Some(resolved) => format!("{} ({})", b.address, resolved.join(", ")),
        None => b.address.clone(),
    }
}

fn state(b: &BackendDoc) -> Cell {
    let mut text = b.state.clone();
    if b.leaving {
        text.push_str(", leaving");
    }
    if let Some(left) = b.drain_seconds_left {
        text.push_str(&format!(" ({} left)", units::seconds(left)));
    }
    Cell::styled(text, if b.state == "active" { PLAIN } else { WARN })
}

fn health(b: &BackendDoc) -> Cell {
    match b.health.as_str() {
        "healthy" => Cell::styled("healthy", GOOD),
        "unhealthy" => Cell::styled(format!("unhealthy: {}", b.reason), BAD),
        other => Cell::styled(other, DIM),
    }
}
