//! Starting the control plane.

use std::path::PathBuf;

use lb_dataplane::DataPlane;
use lb_model::Desired;
use tokio::task::JoinHandle;

use crate::error::ControlError;
use crate::handle::Handle;

/// Where the desired state comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, read again by a reload.
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
}

/// Begins the control plane.
#[derive(Debug)]
pub struct Controller;

impl Controller {
    /// Puts the desired state (and what the state directory holds) in force and starts the control task. Must be called
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// [`ControlError`] if the data plane refuses the configuration or the state directory cannot be used.
    pub fn start(options: ControllerOptions) -> Result<(Handle, JoinHandle<()>), ControlError> {
        drop(options);
        Err(lb_dataplane::PlaneError::Limit("the control plane is not ready".into()).into())
    }
}
