//! What comes back when a request is not done.

use serde::{Deserialize, Serialize};

/// Whose fault it is decides the HTTP status and the exit status of the CLI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// No such pool, backend, service, route or listener: 404, exit 2.
    Unknown,
    /// What was given is wrong in itself: 400, exit 2.
    Invalid,
    /// The configuration has errors, listed in `diagnostics`: 422, exit 2.
    Configuration,
    /// The daemon or the network refuses: 409, exit 1.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// One sentence.
    pub error: String,
    pub kind: FaultKind,
    /// The known name nearest to the unknown one.
    pub nearest: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<DiagnosticDoc>,
}

impl Fault {
    #[must_use]
    pub fn new(kind: FaultKind, error: impl Into<String>) -> Self {
        Self { error: error.into(), kind, nearest: None, diagnostics: Vec::new() }
    }
    #[must_use]
    pub const fn http_status(&self) -> u16 {
        match self.kind {
            FaultKind::Unknown => 404,
            FaultKind::Invalid => 400,
            FaultKind::Configuration => 422,
            FaultKind::Refused => 409,
        }
    }
}

/// One error of a configuration: a row of `lb check --json`, with the text `lb check` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiagnosticDoc {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub message: String,
    pub hint: Option<String>,
    /// The error as `lb check` prints it, with its excerpt.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rendered: String,
}
