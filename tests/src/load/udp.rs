//! The backends' UDP: every datagram comes back with the backend's name before it, from the address it was sent to.
//!
//! With direct return that address is the service's, not the host's: a socket bound to "any" must read it from each
//! datagram and answer by it.

use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo, RcvBuf};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt};

use super::server::State;

pub(crate) fn bind(port: u16, v6: bool) -> Result<UdpSocket> {
    // A wildcard IPv6 socket takes IPv4 too unless told otherwise, which std does not offer; mapped datagrams would do,
    // but their packet information is of the other kind.
    let socket = if v6 { v6_only(port)? } else { UdpSocket::bind(("0.0.0.0", port))? };
    if v6 {
        setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&socket, Ipv4PacketInfo, &true)?;
    }
    setsockopt(&socket, RcvBuf, &(4 << 20))?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    Ok(socket)
}

fn v6_only(port: u16) -> Result<UdpSocket> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn6, bind, socket, sockopt::Ipv6V6Only};
    let fd = socket(AddressFamily::Inet6, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, Ipv6V6Only, &true)?;
    let any = std::net::SocketAddrV6::new(std::net::Ipv6Addr::UNSPECIFIED, port, 0, 0);
    bind(fd.as_raw_fd(), &SockaddrIn6::from(any)).with_context(|| format!("cannot bind [::]:{port}/udp"))?;
    Ok(fd.into())
}

/// Answers until the state says stop.
pub(crate) fn serve(socket: &UdpSocket, state: &State) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let head = format!("{} ", state.name);
    while !state.stop.load(Ordering::Relaxed) {
        match answer(socket, &mut buffer, head.as_bytes()) {
            Ok(()) => _ = state.datagrams.fetch_add(1, Ordering::Relaxed),
            // Nobody asked lately, or an ICMP error about an answer to somebody who left.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => {}
            Err(e) => return Err(e).with_context(|| format!("{}: UDP", state.name)),
        }
    }
    Ok(())
}

fn answer(socket: &UdpSocket, buffer: &mut [u8], head: &[u8]) -> nix::Result<()> {
    let fd = socket.as_raw_fd();
    let mut space = cmsg_space!(nix::libc::in6_pktinfo);
    let (length, peer, v4, v6) = {
        let mut parts = [IoSliceMut::new(buffer)];
        let got = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut space), MsgFlags::empty())?;
        let (mut v4, mut v6) = (None, None);
        for message in got.cmsgs()? {
            match message {
                ControlMessageOwned::Ipv4PacketInfo(mut info) => {
                    info.ipi_spec_dst = info.ipi_addr;
                    info.ipi_ifindex = 0;
                    v4 = Some(info);
                }
                ControlMessageOwned::Ipv6PacketInfo(mut info) => {
                    info.ipi6_ifindex = 0;
                    v6 = Some(info);
                }
                _ => {}
            }
        }
        (got.bytes, got.address, v4, v6)
    };
    let control: Vec<ControlMessage<'_>> =
        v4.iter().map(ControlMessage::Ipv4PacketInfo).chain(v6.iter().map(ControlMessage::Ipv6PacketInfo)).collect();
    let parts = [IoSlice::new(head), IoSlice::new(&buffer[..length])];
    sendmsg(fd, &parts, &control, MsgFlags::empty(), peer.as_ref()).map(drop)
}
