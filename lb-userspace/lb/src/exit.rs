//! How a command ends: the exit status says whose fault it was.

use lb_api::ClientError;
use lb_api::wire::FaultKind;

#[derive(Debug)]
pub(crate) enum Failure {
    /// The daemon or the network refused: 1.
    Refused(anyhow::Error),
    /// What was typed or configured is wrong: 2.
    Wrong(anyhow::Error),
    /// Wrong as well, and already said.
    Said,
    /// A process that stood for this one ended so, and has said why.
    Ended(u8),
}

pub(crate) type Outcome = Result<(), Failure>;

impl Failure {
    pub(crate) const fn status(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Wrong(_) | Self::Said => 2,
            Self::Ended(status) => *status,
        }
    }
    pub(crate) fn refused(message: impl std::fmt::Display) -> Self {
        Self::Refused(anyhow::anyhow!("{message}"))
    }
    pub(crate) fn wrong(message: impl std::fmt::Display) -> Self {
        Self::Wrong(anyhow::anyhow!("{message}"))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Refused(error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let ClientError::Fault(fault) = error else { return Self::refused(error) };
        match fault.kind {
            FaultKind::Refused => Self::refused(fault.error),
            FaultKind::Unknown | FaultKind::Invalid | FaultKind::Configuration => match fault.nearest {
                Some(nearest) => Self::wrong(format!("{}; the nearest name is '{nearest}'", fault.error)),
                None => Self::wrong(fault.error),
            },
        }
    }
}
