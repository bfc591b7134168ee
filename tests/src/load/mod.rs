//! Load: backends that name themselves, and clients that count who answered, check every byte and keep rates.

pub mod bodies;
pub mod echo;
mod http;
pub mod lines;
pub mod pulse;
pub mod server;
pub mod spread;
pub mod steady;
mod udp;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpSocket, TcpStream};

/// A TCP connection from a given source, or an error that says what was tried.
///
/// # Errors
/// If it does not stand within `bound`.
pub async fn connect(from: SocketAddr, to: SocketAddr, bound: Duration) -> Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(from).with_context(|| format!("cannot bind {from}"))?;
    let connected = tokio::time::timeout(bound, socket.connect(to)).await;
    let stream = connected.map_err(|_| anyhow::anyhow!("{from} -> {to}: no connection within {bound:?}"))?;
    let stream = stream.with_context(|| format!("{from} -> {to}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A runtime for the calling thread, so that its sockets are in the thread's namespace.
///
/// # Errors
/// If the system gives none.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")
}
