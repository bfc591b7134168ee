//! What the control plane answers when it will not do as asked.

use lb_config::Diagnostic;
use lb_gateway::GatewayError;

use crate::layer7::is_configurations;

/// A command was not carried out.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CommandError {
    /// No such thing (exit status 2).
    #[error("there is no {kind} '{given}'{}", nearest.as_ref().map(|n| format!("; did you mean '{n}'?")).unwrap_or_default())]
    Unknown {
        /// `pool`, `backend`, `service`, `route` or `listener`.
        kind: &'static str,
        given: String,
        nearest: Option<String>,
    },
    /// What was typed is wrong (exit status 2).
    #[error("{0}")]
    Invalid(String),
    /// Well asked, but it cannot be done now (exit status 1).
    #[error("{0}")]
    Refused(String),
}

/// A reload changed nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file is wrong: everything that is wrong with it.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Diagnostic>),
    /// Files that the configuration names cannot be used: what is wrong with each.
    #[error("{}", .0.join("\n"))]
    Files(Vec<String>),
    /// The file is right, but the data plane or the way the daemon was started does not allow it.
    #[error("{0}")]
    Refused(String),
}

/// The control plane could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The data plane refused what the configuration asks; says which service.
    #[error("{0}")]
    Plane(#[from] lb_dataplane::PlaneError),
    /// An address cannot be listened on, or the gateway cannot be had.
    #[error("{0}")]
    Http(String),
    /// Files that the configuration names cannot be used.
    #[error("{}", .0.join("\n"))]
    Files(Vec<String>),
}

/// The gateway's errors by whose fault they are: the configuration's first, all of them.
fn sorted(errors: &[GatewayError]) -> Result<String, Vec<String>> {
    let files: Vec<String> = errors.iter().filter(|e| is_configurations(e)).map(ToString::to_string).collect();
    if files.is_empty() {
        return Ok(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
    Err(files)
}

impl From<Vec<GatewayError>> for ControlError {
    fn from(errors: Vec<GatewayError>) -> Self {
        sorted(&errors).map_or_else(Self::Files, Self::Http)
    }
}

impl From<Vec<GatewayError>> for ReloadError {
    fn from(errors: Vec<GatewayError>) -> Self {
        sorted(&errors).map_or_else(Self::Files, Self::Refused)
    }
}
