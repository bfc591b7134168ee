//! One worker's way to the backends: a request goes in, an answer or a failure comes out.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::Request;
use lb_message::Body;
use lb_model::http::{Refusal, Retry, RouteTimeouts};

use crate::answer::{Answer, Failure};
use crate::budget::RetryBudget;
use crate::pool::PoolHandle;
use crate::upstreams::Upstreams;

/// What a request may take and how it is chosen for.
#[derive(Clone, Copy, Debug)]
pub struct Want<'a> {
    /// The rightmost untrusted address.
    pub client: IpAddr,
    /// Normalised, without query; what `hash_on = "path"` hashes.
    pub path: &'a str,
    pub timeouts: &'a RouteTimeouts,
    pub retry: &'a Retry,
    pub budget: &'a RetryBudget,
    /// The client's side is TLS.
    pub secure: bool,
}

/// One worker's connections.
#[derive(Debug)]
pub struct Client {
    upstreams: Arc<Upstreams>,
}

impl Client {
    /// Must be called in a `LocalSet` of a current-thread runtime: connections are driven there.
    #[must_use]
    pub fn new(upstreams: Arc<Upstreams>) -> Rc<Self> {
        Rc::new(Self { upstreams })
    }

    /// Sends a request whose hop-by-hop fields are gone (but for `Connection: upgrade` with `Upgrade`, and `TE:
    /// trailers`), with an origin-form URI and a Host field. 1xx answers go to a callback that was put into the request
    /// by `hyper::ext::on_informational`. Dropping the future or the answer's body ends the backend's request.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn send(
        self: &Rc<Self>,
        pool: &Arc<PoolHandle>,
        request: Request<Body>,
        want: &Want<'_>,
    ) -> Result<Answer, Failure> {
        let _ = (pool, request, want, &self.upstreams);
        Err(Failure {
            refusal: Refusal::NoBackend,
            detail: "no backend is available",
            backend: None,
            retries: 0,
            retry_after: Some(5),
        })
    }
}
