//! Listening sockets: one per worker and address, so that the kernel spreads clients over workers.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

/// Connections that the kernel completes before they are accepted; it caps this at `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// Opens `workers` sockets for an address, all or none. `ours`: we listen there already.
///
/// # Errors
/// Why not, in words.
pub(crate) fn open(address: SocketAddr, workers: usize, ours: bool) -> Result<Vec<TcpListener>, String> {
    let opened = || {
        if !ours {
            probe(address)?;
        }
        (0..workers).map(|_| one(address)).collect::<io::Result<Vec<_>>>()
    };
    opened().map_err(|e| in_words(address, &e))
}

/// A port shared by `SO_REUSEPORT` with another process would go unnoticed: asks for it unshared first.
fn probe(address: SocketAddr) -> io::Result<()> {
    let s = Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), None)?;
    s.set_reuse_address(true)?;
    free_bind(&s, address)?;
    s.bind(&address.into())?;
    s.listen(1)
}

pub(super) fn free_bind(s: &Socket, address: SocketAddr) -> io::Result<()> {
    match address.ip() {
        IpAddr::V4(_) => s.set_freebind_v4(true),
        IpAddr::V6(_) => s.set_only_v6(true).and_then(|()| s.set_freebind_v6(true)),
    }
}

fn one(address: SocketAddr) -> io::Result<TcpListener> {
    let s = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
    s.set_reuse_address(true)?;
    s.set_reuse_port(true)?;
    free_bind(&s, address)?;
    // Accepted connections inherit it.
    s.set_tcp_nodelay(true)?;
    s.bind(&address.into())?;
    s.listen(BACKLOG)?;
    Ok(s.into())
}

pub(super) fn in_words(address: SocketAddr, e: &io::Error) -> String {
    match e.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EADDRINUSE) => "another process listens there".to_owned(),
        Some(Errno::EADDRNOTAVAIL) => "the host cannot use this address".to_owned(),
        Some(Errno::EACCES) => format!(
            "port {} needs root or CAP_NET_BIND_SERVICE, or a lower net.ipv4.ip_unprivileged_port_start",
            address.port()
        ),
        Some(Errno::EMFILE | Errno::ENFILE) => {
            "no file descriptors left; raise the limit (ulimit -n, LimitNOFILE=)".to_owned()
        }
        _ => e.to_string(),
    }
}
