//! From a backend's head to an answer: checked, and its body tied to all that hangs on its end.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Response, StatusCode};
use hyper::body::Incoming;
use lb_message::Body;
use lb_model::http::Refusal;

use crate::answer::{Answer, Failure, InFlight};
use crate::backend::Ticket;
use crate::client::Client;
use crate::deadline::Deadline;
use crate::download::{Download, Ending, Exchange, drain};
use crate::exchange::Run;
use crate::head::{self, Verdict};
use crate::lane::Lane;
use crate::pool::Chosen;
use crate::sticky;
use crate::upload::Upload;

/// A response's head, and what it hangs on.
pub(crate) struct Got {
    pub(crate) response: Response<Incoming>,
    pub(crate) exchange: Exchange,
    pub(crate) at: Instant,
}

impl Run<'_> {
    /// Lets go of an answer that is not passed on.
    pub(crate) fn give_up(&mut self, got: Got, chosen: Chosen, lane: Rc<Lane>, deadline: Deadline) {
        self.tried.push(chosen.ticket.backend.id);
        // The next try's body must not be taken for this one's.
        let upload = self.upload.clone();
        if let Ok(answer) = self.wrap(got, chosen.ticket, lane, deadline, upload) {
            tokio::task::spawn_local(drain(answer.into_body()));
        }
    }

    pub(crate) fn finish(
        mut self,
        got: Got,
        chosen: Chosen,
        lane: Rc<Lane>,
        deadline: Deadline,
    ) -> Result<Answer, Failure> {
        let Chosen { ticket, token } = chosen;
        let (at, backend) = (got.at, ticket.backend.address);
        let upload = self.upload.take();
        let response = self.wrap(got, ticket, lane, deadline, upload)?;
        let set_cookie = self
            .plan
            .http
            .sticky
            .as_ref()
            .zip(token)
            .and_then(|(sticky, token)| sticky::set_cookie(sticky, &token, self.want.secure));
        Ok(Answer { response, backend, retries: self.retries, elapsed_to_head: at - self.start, set_cookie })
    }

    /// Checks the head, and ties the body to all that hangs on its end.
    fn wrap(
        &self,
        got: Got,
        ticket: Ticket,
        lane: Rc<Lane>,
        deadline: Deadline,
        upload: Option<Rc<Upload>>,
    ) -> Result<Response<Body>, Failure> {
        let (mut parts, incoming) = got.response.into_parts();
        let h2 = matches!(got.exchange, Exchange::H2(_));
        let verdict = head::check(&mut parts, h2, self.upgrade.as_ref());
        if let Verdict::Bad(detail) = verdict {
            ticket.backend.judge(self.rule(), true, Duration::ZERO, got.at);
            return Err(self.failure(Refusal::BadResponse, detail));
        }
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            if let Exchange::H1(mut h1) = got.exchange {
                // The connection is the tunnel's now.
                h1.at_rest = true;
            }
            parts.extensions.insert(InFlight(Arc::new(ticket)));
            return Ok(Response::from_parts(parts, Body::Empty));
        }
        let ending = Ending { ticket, exchange: got.exchange, lane, upload, reusable: verdict == Verdict::Fine };
        if hyper::body::Body::is_end_stream(&incoming) {
            ending.finish();
            return Ok(Response::from_parts(parts, Body::Empty));
        }
        let download = Download {
            incoming,
            ending: Some(ending),
            deadline,
            idle: self.want.timeouts.idle,
            grpc: head::is_grpc(&parts.headers),
            plan: Arc::clone(&self.plan),
            armed: false,
        };
        Ok(Response::from_parts(parts, Body::boxed(download)))
    }
}

/// A deadline of its own for an answer that is let go.
pub(crate) fn deadline_of(client: &Client) -> Deadline {
    client.deadlines.set(u64::MAX)
}
