//! What came of a request: an answer with its backend, or why there is none.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Response};
use lb_message::Body;
use lb_model::http::Refusal;

use crate::backend::Ticket;

/// A backend's answer.
#[derive(Debug)]
pub struct Answer {
    /// The head is checked and may be passed on; hop-by-hop fields are still in it. The body ends with an error that is a
    /// [`BodyRefused`] if the backend breaks off or is silent for longer than `idle`. With status 101,
    /// `hyper::upgrade::on` gives the tunnel, and an [`InFlight`] is in the extensions.
    pub response: Response<Body>,
    pub backend: SocketAddr,
    /// Further tries that were made.
    pub retries: u32,
    /// From the call to the answer's head, retries and queue included.
    pub elapsed_to_head: Duration,
    /// To be added to the client's response: never to a stored one.
    pub set_cookie: Option<HeaderValue>,
}

/// No answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {detail}", refusal.name())]
pub struct Failure {
    pub refusal: Refusal,
    /// In words; names no backend.
    pub detail: &'static str,
    /// The last one tried.
    pub backend: Option<SocketAddr>,
    pub retries: u32,
    /// Seconds.
    pub retry_after: Option<u32>,
}

/// The error of a body that ends early. A request's body may fail with it: then [`Failure::refusal`] is the same.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{}", refusal.name())]
pub struct BodyRefused {
    pub refusal: Refusal,
}

/// A request or tunnel that counts as in flight at its backend until the last clone is dropped.
#[derive(Clone)]
pub struct InFlight(pub(crate) Arc<Ticket>);

impl InFlight {
    /// Returns when the backend's drain deadline has passed: what is in flight must end now.
    pub async fn expired(&self) {
        self.0.backend.expired().await;
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InFlight")
    }
}
