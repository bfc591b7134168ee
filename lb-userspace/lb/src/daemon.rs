//! The daemon as the commands see it.

use std::future::Future;
use std::path::Path;

use anyhow::Context as _;
use lb_api::Client;

use crate::exit::{Failure, Outcome};
use crate::place;

/// Runs a command's conversation on a small runtime.
pub(crate) fn converse<F: Future<Output = Outcome>>(talk: impl FnOnce() -> F) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the runtime cannot be started")?.block_on(talk())
}

/// A client of the daemon that answers.
pub(crate) async fn connect(socket: Option<&Path>) -> Result<Client, Failure> {
    match find(socket).await {
        Ok(client) => Ok(client),
        Err(tried) => Err(Failure::refused(format!(
            "no lb daemon answers (looked at {tried}); start one with 'lb run', or say where with --socket or $LB_SOCKET"
        ))),
    }
}

/// A client of the daemon that answers, or where none did and why.
pub(crate) async fn find(socket: Option<&Path>) -> Result<Client, String> {
    let mut tried = Vec::new();
    for path in place::candidates(socket) {
        match tokio::net::UnixStream::connect(&path).await {
            Ok(_) => return Ok(Client::new(path)),
            Err(error) => tried.push(format!("{}: {error}", path.display())),
        }
    }
    Err(tried.join(", "))
}
