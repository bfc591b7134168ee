//! Bodies of 1 B to 64 MiB there and back, and datagrams up to what the MTU holds, checked byte by byte.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::lines::{Talk, fill};
use crate::lab::Host;
use crate::lab::addresses::{Family, flow_source};

const BOUND: Duration = Duration::from_secs(60);

/// Sizes around what segments, buffers and windows are made of.
pub const TCP_SIZES: [u64; 9] = [1, 2, 536, 1447, 1448, 1449, 65_535, 1 << 20, 64 << 20];
/// The largest fit a 1500-byte MTU with IPv4 and IPv6 headers and the backend's name.
pub const UDP_SIZES: [usize; 6] = [1, 2, 63, 512, 1399, 1420];

fn source(to: SocketAddr, n: u32) -> SocketAddr {
    flow_source(n, if to.is_ipv4() { Family::V4 } else { Family::V6 })
}

/// Each size there and back on a connection of its own, which is closed in order.
///
/// # Errors
/// At the first byte that is wrong or missing.
pub fn tcp(host: &Host, to: SocketAddr, first: u32, sizes: &[u64]) -> Result<()> {
    let run = async {
        for (n, &size) in sizes.iter().enumerate() {
            let mut talk = Talk::open(source(to, first + n as u32), to, BOUND).await?;
            let echo = tokio::time::timeout(BOUND, talk.echo(size)).await;
            echo.with_context(|| format!("{size} bytes through {to}"))?
                .with_context(|| format!("{size} bytes through {to}"))?;
            talk.bye().await.with_context(|| format!("after {size} bytes through {to}"))?;
        }
        Ok(())
    };
    host.inside(|| super::runtime()?.block_on(run))?
}

/// Each size there and back on one flow: all of them from the same backend.
///
/// # Errors
/// If an answer is missing, differs, or comes from elsewhere.
pub fn udp(host: &Host, to: SocketAddr, first: u32, sizes: &[usize]) -> Result<()> {
    host.inside(|| {
        let from = source(to, first);
        let socket = UdpSocket::bind(from).with_context(|| format!("cannot bind {from}"))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut backend = None;
        for &size in sizes {
            let mut sent = vec![0; size];
            fill(&mut sent, 0);
            socket.send_to(&sent, to)?;
            let mut got = vec![0; 2048];
            let (n, peer) = socket.recv_from(&mut got).with_context(|| format!("{size} bytes {from} -> {to}"))?;
            let space = got[..n].iter().position(|&b| b == b' ').context("an answer without a name")?;
            let name = String::from_utf8_lossy(&got[..space]).into_owned();
            if got[space + 1..n] != sent[..] || peer != to {
                bail!("{size} bytes {from} -> {to}: {} came back from {peer}, not the same", n - space - 1);
            }
            if backend.get_or_insert_with(|| name.clone()) != &name {
                bail!("one flow, two backends: {from} -> {to}");
            }
        }
        Ok(())
    })?
}
