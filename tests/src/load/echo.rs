//! ICMP echo, as `ping` does it.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use crate::lab::Host;

/// Pings `to` with `size` bytes; the kernel checks the answer's checksum.
///
/// # Errors
/// If no answer comes within two seconds, or another.
pub fn ping(host: &Host, to: IpAddr, size: usize) -> Result<()> {
    host.set(&[("ipv4.ping_group_range", "0 0")])?;
    host.inside(|| {
        let (family, protocol, request, reply) = if to.is_ipv4() {
            (AddressFamily::Inet, SockProtocol::Icmp, 8, 0)
        } else {
            (AddressFamily::Inet6, SockProtocol::IcmpV6, 128, 129)
        };
        let socket = UdpSocket::from(socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol)?);
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        // The kernel sets identifier and checksum.
        let mut sent = vec![request, 0, 0, 0, 0, 0, 0, 1];
        sent.resize(8 + size, 0xa5);
        socket.send_to(&sent, SocketAddr::new(to, 0))?;
        let mut got = vec![0; sent.len() + 1];
        let (n, peer) = socket.recv_from(&mut got).with_context(|| format!("ping {to}: no answer"))?;
        ensure!(peer.ip() == to, "ping {to}: {peer} answered");
        ensure!(n == sent.len() && got[0] == reply && got[6..n] == sent[6..], "ping {to}: another answer");
        Ok(())
    })?
}
