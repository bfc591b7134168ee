//! A connection after the backend's 101: bytes both ways until a side, the drain or silence ends it.

use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use lb_upstream::InFlight;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::Connection;
use crate::record::Record;
use crate::stage::limit::{Finish as _, Sent};
use crate::stage::upgrade::{TunnelEnd, TunnelRules, tunnel};

#[derive(Debug)]
pub(crate) struct Tunnel {
    pub backend: OnUpgrade,
    pub in_flight: Option<InFlight>,
    pub idle: Duration,
    pub websocket: bool,
    /// Ends with the tunnel.
    pub record: Option<Box<Record>>,
}

impl Tunnel {
    /// `client`: the connection, or a stream of HTTP/2 or HTTP/3, after the answer's head was sent on it.
    pub(crate) async fn run<C>(self, client: C, connection: &Connection)
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let Ok(backend) = self.backend.await else { return };
        let cancel = connection.life.cut.child_token();
        let rules = TunnelRules { idle: self.idle, websocket: self.websocket, cancel: cancel.clone() };
        let copying = tunnel(client, TokioIo::new(backend), &rules);
        tokio::pin!(copying);
        let done = tokio::select! {
            done = &mut copying => done,
            () = expired(self.in_flight.as_ref()) => {
                cancel.cancel();
                copying.await
            }
        };
        if let Some(mut record) = self.record {
            record.tunnelled_in = done.to_backend;
            let complete = matches!(done.end, TunnelEnd::Closed | TunnelEnd::Cancelled | TunnelEnd::Idle);
            record.finish(Sent { bytes: done.to_client, complete, failed: false, grpc_status: None });
        }
    }
}

async fn expired(in_flight: Option<&InFlight>) {
    match in_flight {
        Some(in_flight) => in_flight.expired().await,
        None => std::future::pending().await,
    }
}
