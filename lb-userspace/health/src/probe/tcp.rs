//! `type = "tcp"`: a connection is accepted.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::words;
use crate::Outcome;

/// Connects, and lets go by a reset: no `TIME_WAIT` is left behind for every probe.
pub(super) async fn probe(address: SocketAddr) -> Outcome {
    let stream = connect(address).await?;
    // Only costs a TIME_WAIT if it fails.
    let _ = stream.set_zero_linger();
    Ok(())
}

pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address).await.map_err(|e| words(&e))?;
    // A connect to a free local port may meet itself (RFC 9293 §3.5, simultaneous open): nobody listens there.
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(own), Ok(peer)) if own == peer => Err("connection refused".into()),
        _ => Ok(stream),
    }
}
