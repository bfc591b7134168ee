//! Starting the control plane.

use std::path::PathBuf;
use std::sync::Arc;

use lb_dataplane::DataPlane;
use lb_health::Monitor;
use lb_model::Desired;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::core::Core;
use crate::error::ControlError;
use crate::handle::Handle;
use crate::layer7::HttpOptions;
use crate::resolver::{Resolve, System};
use crate::task::{Task, blocking, now};

/// Requests waiting at once; more wait to be let in.
const WAITING: usize = 64;

/// Where the desired state comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, read again by a reload and when it changes.
    File(PathBuf),
    /// The flags of `lb run`; a reload is refused.
    Flags,
}

#[derive(Debug)]
pub struct ControllerOptions {
    pub desired: Desired,
    pub source: Source,
    pub plane: Box<dyn DataPlane>,
    /// Why this engine and no other, in words.
    pub plane_reason: String,
    /// Shown in the view from the beginning.
    pub notes: Vec<String>,
    pub http: HttpOptions,
    /// `[host]` as it is in force, where the command line or this host had another idea than the file.
    pub host_in_force: lb_model::Host,
}

/// Begins the control plane.
#[derive(Debug)]
pub struct Controller;

impl Controller {
    /// Puts the desired state (and what the state directory holds) in force and starts the control task. Must be called
    /// inside a tokio runtime. The task ends after [`Handle::shutdown`] or [`Handle::detach`], or with the last handle.
    ///
    /// # Errors
    /// [`ControlError`] if the data plane or the gateway refuses the configuration.
    pub fn start(options: ControllerOptions) -> Result<(Handle, JoinHandle<()>), ControlError> {
        Self::start_with(options, Arc::new(System))
    }

    /// The same with another resolver for host names.
    ///
    /// # Errors
    /// As [`Controller::start`].
    pub fn start_with(
        options: ControllerOptions,
        resolver: Arc<dyn Resolve>,
    ) -> Result<(Handle, JoinHandle<()>), ControlError> {
        let (report, reports) = mpsc::unbounded_channel();
        // The process's number keeps balancers that start together out of step.
        let monitor = Monitor::start(report, u64::from(std::process::id()));
        let path = match &options.source {
            Source::File(path) => Some(path.clone()),
            Source::Flags => None,
        };
        let (core, view, text) = blocking(|| {
            let mut core = Core::start(options, monitor, now())?;
            let view = core.view(now());
            Ok::<_, ControlError>((core, view, path.and_then(|p| std::fs::read(p).ok())))
        })?;
        let (ask, requests) = mpsc::channel(WAITING);
        let (last, seen) = watch::channel(Arc::new(view));
        let task = Task { core, requests, reports, last, resolver, text };
        Ok((Handle::new(ask, seen), tokio::spawn(task.run())))
    }
}
