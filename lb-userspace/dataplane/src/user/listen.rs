//! Opening the sockets of services: one per worker and port, so that the kernel spreads clients over workers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use lb_model::{MssClamp, Protocol, Service};
use socket2::{Domain, Socket, Type};

use super::sys;
use crate::plane::PlaneError;

/// Connections that the kernel completes before they are accepted; it caps this at `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;
/// Bytes of datagrams that may wait to be read.
const DATAGRAM_BUFFER: i32 = 8 << 20;

/// Sockets for one address, as many as workers.
pub(super) type Opened = (SocketAddr, Vec<Socket>);

/// Opens `addresses` of a service for `workers` workers; all or none. `ours`: does the engine itself listen there now?
pub(super) fn open(
    service: &Service,
    addresses: &[SocketAddr],
    workers: usize,
    ours: impl Fn(SocketAddr) -> bool,
) -> Result<Vec<Opened>, PlaneError> {
    addresses
        .iter()
        .map(|&address| {
            let one = |_| socket(service, address);
            let probe = if ours(address) { Ok(()) } else { probe(service, address) };
            let sockets = probe.and_then(|()| (0..workers).map(one).collect::<io::Result<Vec<_>>>());
            Ok((address, sockets.map_err(|e| refused(service, address, &e))?))
        })
        .collect()
}

/// A port shared by `SO_REUSEPORT` with another process would go unnoticed: asks for it unshared first.
fn probe(service: &Service, address: SocketAddr) -> io::Result<()> {
    if service.listen.protocol == Protocol::Udp {
        return Ok(());
    }
    let s = Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), None)?;
    s.set_reuse_address(true)?;
    free_bind(&s, address)?;
    s.bind(&address.into())
}

fn free_bind(s: &Socket, address: SocketAddr) -> io::Result<()> {
    match address.ip() {
        IpAddr::V4(_) => s.set_freebind_v4(true),
        IpAddr::V6(_) => s.set_only_v6(true).and_then(|()| s.set_freebind_v6(true)),
    }
}

fn socket(service: &Service, address: SocketAddr) -> io::Result<Socket> {
    let kind = match service.listen.protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let s = Socket::new(Domain::for_address(address), kind.nonblocking().cloexec(), None)?;
    s.set_reuse_address(true)?;
    s.set_reuse_port(true)?;
    free_bind(&s, address)?;
    if service.listen.protocol == Protocol::Tcp {
        // Accepted connections inherit both.
        s.set_tcp_nodelay(true)?;
        if let MssClamp::Bytes(mss) = service.mss_clamp {
            s.set_tcp_mss(mss.into())?;
        }
        s.bind(&address.into())?;
        s.listen(BACKLOG)?;
    } else {
        widen(&s);
        s.bind(&address.into())?;
    }
    Ok(s)
}

/// Larger buffers where we are allowed to; the kernel's limit where we are not.
fn widen(s: &Socket) {
    for (forced, name) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        let set = |option| sys::set_option(s.as_fd(), libc::SOL_SOCKET, option, DATAGRAM_BUFFER);
        if set(forced).is_err() {
            let _kernel_limit = set(name);
        }
    }
}

fn refused(service: &Service, address: SocketAddr, e: &io::Error) -> PlaneError {
    let why = match e.raw_os_error() {
        Some(libc::EADDRINUSE) => "another process listens there".to_owned(),
        Some(libc::EADDRNOTAVAIL) => "the host cannot use this address".to_owned(),
        Some(libc::EACCES) => {
            format!(
                "port {} needs root or CAP_NET_BIND_SERVICE, or a lower net.ipv4.ip_unprivileged_port_start",
                address.port()
            )
        }
        Some(libc::EMFILE | libc::ENFILE) => {
            "no file descriptors left; raise the limit (ulimit -n, LimitNOFILE=)".to_owned()
        }
        _ => e.to_string(),
    };
    PlaneError::Listen { listen: format!("{address}/{}", service.listen.protocol), why }
}

/// Every address that a service listens on.
pub(super) fn addresses(service: &Service) -> Vec<SocketAddr> {
    let l = &service.listen;
    (l.ports.first()..=l.ports.last()).map(|p| SocketAddr::new(l.address, p)).collect()
}
