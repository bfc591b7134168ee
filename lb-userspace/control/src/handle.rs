//! The door to the control plane: a handle that any task may hold; requests travel to the one task that owns the truth.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lb_config::Diagnostic;
use lb_dataplane::{Explanation, FlowRecord};
use lb_model::Protocol;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::{CommandError, ReloadError};
use crate::handle_http::HttpRequest;
use crate::publish::passed;
use crate::view::View;

/// Which flows to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowQuery {
    /// A service's name; `None`: of every service.
    pub service: Option<String>,
    /// At most so many; `None`: all.
    pub limit: Option<usize>,
}

/// A reload that is in force.
#[derive(Clone, Debug, Default)]
pub struct ReloadReport {
    /// What changed, in words; empty if the file says what was in force.
    pub changes: Vec<String>,
    pub warnings: Vec<Diagnostic>,
    /// Keys that changed in the file but need a restart.
    pub notes: Vec<String>,
}

/// What a reload would change in one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanPool {
    pub pool: String,
    pub added: Vec<String>,
    pub removed: Vec<String>,
    /// Slots of the new table that another backend owns than before.
    pub slots_moved: u64,
    /// Slots of the new table.
    pub slots: u64,
    /// Established flows that would end at another backend, or nowhere.
    pub live_flows_moved: u64,
}

/// What a reload would change; names in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanReport {
    pub pools: Vec<PlanPool>,
    /// A line for each service and listener added, removed or changed.
    pub services: Vec<String>,
    /// A line for each route added, removed or changed.
    pub routes: Vec<String>,
    /// What the new file would not change without a restart.
    pub notes: Vec<String>,
    pub warnings: Vec<Diagnostic>,
}

/// One change to a pool's backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BackendCommand {
    Add { weight: Option<u32> },
    Set { weight: u32 },
    Drain { timeout: Option<Duration> },
    Undrain,
    Remove { force: bool },
}

pub(crate) type Reply<T> = oneshot::Sender<T>;

/// What the control task is asked.
#[derive(Debug)]
pub(crate) enum Request {
    View(Reply<Arc<View>>),
    Reload(Reply<Result<ReloadReport, ReloadError>>),
    Plan { text: String, path: String, reply: Reply<Result<PlanReport, Vec<Diagnostic>>> },
    Backend { pool: String, address: String, command: BackendCommand, reply: Reply<Result<(), CommandError>> },
    Flows { query: FlowQuery, reply: Reply<Result<Vec<FlowRecord>, CommandError>> },
    Explain { from: SocketAddr, to: SocketAddr, protocol: Protocol, reply: Reply<Explanation> },
    Http(HttpRequest),
    Export(Reply<String>),
    HandOver(Reply<Result<Vec<lb_gateway::Inherited>, CommandError>>),
    TakeBack(Reply<()>),
    Retire(Reply<String>),
    Detach(Reply<Result<String, CommandError>>),
    Shutdown(Reply<String>),
}

const ENDED: &str = "the control plane has ended";

/// Talks to the one control task; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    /// The last view made, for those who ask after the task has ended.
    last: watch::Receiver<Arc<View>>,
}

impl Handle {
    pub(crate) const fn new(requests: mpsc::Sender<Request>, last: watch::Receiver<Arc<View>>) -> Self {
        Self { requests, last }
    }

    pub(crate) async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(make(reply)).await.ok()?;
        answer.await.ok()
    }

    /// The state of everything, as of now.
    pub async fn view(&self) -> Arc<View> {
        match self.ask(Request::View).await {
            Some(view) => view,
            None => self.last.borrow().clone(),
        }
    }

    /// Reads the configuration file again and puts it in force, whole or not at all.
    ///
    /// # Errors
    /// [`ReloadError`]; nothing has changed then.
    pub async fn reload(&self) -> Result<ReloadReport, ReloadError> {
        self.ask(Request::Reload).await.unwrap_or_else(|| Err(ReloadError::Refused(ENDED.into())))
    }

    /// What a reload of this text would change. `path` is what errors name.
    ///
    /// # Errors
    /// Everything that is wrong with the text.
    pub async fn plan(&self, text: String, path: String) -> Result<PlanReport, Vec<Diagnostic>> {
        self.ask(|reply| Request::Plan { text, path, reply }).await.unwrap_or_else(|| Ok(PlanReport::default()))
    }

    async fn backend(&self, pool: String, address: String, command: BackendCommand) -> Result<(), CommandError> {
        self.ask(|reply| Request::Backend { pool, address, command, reply }).await.unwrap_or_else(refused)
    }

    /// Adds a backend to a pool (weight 1 unless given), or takes back its removal.
    ///
    /// # Errors
    /// [`CommandError`] if there is no such pool, the address does not fit its services, or it is there already.
    pub async fn backend_add(&self, pool: String, address: String, weight: Option<u32>) -> Result<(), CommandError> {
        self.backend(pool, address, BackendCommand::Add { weight }).await
    }

    /// Sets a backend's weight. No established flow moves.
    ///
    /// # Errors
    /// [`CommandError`] if there is no such backend or the weight is above 1000.
    pub async fn backend_set(&self, pool: String, address: String, weight: u32) -> Result<(), CommandError> {
        self.backend(pool, address, BackendCommand::Set { weight }).await
    }

    /// Begins to drain; returns at once. The view tells how many flows are left.
    ///
    /// # Errors
    /// [`CommandError`] if there is no such backend.
    pub async fn backend_drain(
        &self,
        pool: String,
        address: String,
        timeout: Option<Duration>,
    ) -> Result<(), CommandError> {
        self.backend(pool, address, BackendCommand::Drain { timeout }).await
    }

    /// Takes a drain back, under way or done.
    ///
    /// # Errors
    /// [`CommandError`] if there is no such backend.
    pub async fn backend_undrain(&self, pool: String, address: String) -> Result<(), CommandError> {
        self.backend(pool, address, BackendCommand::Undrain).await
    }

    /// Drains a backend and then removes it; with `force`, at once.
    ///
    /// # Errors
    /// [`CommandError`] if there is no such backend.
    pub async fn backend_remove(&self, pool: String, address: String, force: bool) -> Result<(), CommandError> {
        self.backend(pool, address, BackendCommand::Remove { force }).await
    }

    /// # Errors
    /// [`CommandError::Unknown`] if there is no such service.
    pub async fn flows(&self, query: FlowQuery) -> Result<Vec<FlowRecord>, CommandError> {
        self.ask(|reply| Request::Flows { query, reply }).await.unwrap_or_else(refused)
    }

    /// Where the first packet of such a flow would go, and why. Changes nothing.
    pub async fn explain(&self, from: SocketAddr, to: SocketAddr, protocol: Protocol) -> Explanation {
        self.ask(|reply| Request::Explain { from, to, protocol, reply }).await.unwrap_or_else(|| passed(ENDED))
    }

    /// The state in force, changes by CLI included, as a configuration file.
    pub async fn export(&self) -> String {
        self.ask(Request::Export).await.unwrap_or_default()
    }

    /// Takes everything off the interfaces; the control plane ends.
    ///
    /// # Errors
    /// [`CommandError::Refused`] if something could not be taken off.
    pub async fn detach(&self) -> Result<String, CommandError> {
        self.ask(Request::Detach).await.unwrap_or_else(refused)
    }

    /// Ends the control plane. What becomes of the data plane is `[host] on_exit`'s to say, and said in the answer.
    pub async fn shutdown(&self) -> String {
        self.ask(Request::Shutdown).await.unwrap_or_else(|| ENDED.into())
    }
}

pub(crate) fn refused<T>() -> Result<T, CommandError> {
    Err(CommandError::Refused(ENDED.into()))
}
