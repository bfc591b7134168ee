//! The kernel calls of the userspace engine that no library of ours wraps: `splice`, `recvmmsg`, `sendmmsg`, `TCP_INFO`.
//! All of the engine's `unsafe` is here.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Datagrams of one batch.
pub(super) const BATCH: usize = 32;
/// Room for the largest datagram; odd in cache lines, so that a batch's first bytes do not share one cache set.
const STRIDE: usize = 65_536 + 64;

fn check(n: isize) -> io::Result<usize> {
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// A pipe as a place for bytes on their way from socket to socket.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    /// A non-blocking pipe of about `size` bytes, or of the default size if that is refused.
    pub(super) fn new(size: i32) -> io::Result<Self> {
        let mut ends = [0i32; 2];
        // SAFETY: `ends` has room for the two descriptors that pipe2 writes.
        check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) } as isize)?;
        // SAFETY: both descriptors are new and owned by nobody else.
        let pipe = unsafe { Self { read: OwnedFd::from_raw_fd(ends[0]), write: OwnedFd::from_raw_fd(ends[1]) } };
        // SAFETY: takes an integer argument only; a refusal leaves the default size.
        unsafe { libc::fcntl(pipe.write.as_raw_fd(), libc::F_SETPIPE_SZ, size) };
        Ok(pipe)
    }

    /// Moves up to `limit` bytes from a socket into the pipe; 0 at the end of the stream.
    pub(super) fn fill(&self, from: BorrowedFd<'_>, limit: usize) -> io::Result<usize> {
        splice(from, self.write.as_fd(), limit)
    }

    /// Moves up to `limit` bytes from the pipe into a socket.
    pub(super) fn drain(&self, to: BorrowedFd<'_>, limit: usize) -> io::Result<usize> {
        splice(self.read.as_fd(), to, limit)
    }
}

fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, limit: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    // SAFETY: null offsets are what pipes and sockets require; both descriptors are open while borrowed.
    check(unsafe {
        libc::splice(from.as_raw_fd(), std::ptr::null_mut(), to.as_raw_fd(), std::ptr::null_mut(), limit, flags)
    })
}

/// What the kernel has received on a TCP connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    pub segments: u64,
    pub timestamps: bool,
}

/// Asks `TCP_INFO`; `None` where the kernel is too old to say.
pub(super) fn received(socket: BorrowedFd<'_>) -> Option<Received> {
    // SAFETY: tcp_info is plain integers, for which zero is valid.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut len = mem::size_of::<libc::tcp_info>() as libc::socklen_t;
    let to = std::ptr::from_mut(&mut info).cast();
    // SAFETY: the buffer is as long as `len` says and outlives the call.
    let rc = unsafe { libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, to, &raw mut len) };
    let told = mem::offset_of!(libc::tcp_info, tcpi_segs_in) + mem::size_of::<u32>();
    if rc != 0 || (len as usize) < told {
        return None;
    }
    Some(Received { segments: info.tcpi_segs_in.into(), timestamps: info.tcpi_options & 1 != 0 })
}

/// How many datagrams the kernel has thrown away because nobody read them in time; wraps. `None` where it does not say.
pub(super) fn overflowed(socket: BorrowedFd<'_>) -> Option<u32> {
    // Indices of SO_MEMINFO (include/uapi/linux/sock_diag.h): SK_MEMINFO_DROPS is 8, of 9 words.
    let mut words = [0u32; 9];
    let mut len = mem::size_of_val(&words) as libc::socklen_t;
    let to = words.as_mut_ptr().cast();
    // SAFETY: the buffer is as long as `len` says and outlives the call.
    let rc = unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, to, &raw mut len) };
    (rc == 0 && len as usize == mem::size_of_val(&words)).then_some(words[8])
}

/// Sets an integer option of a socket.
pub(super) fn set_option(socket: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = mem::size_of::<i32>() as libc::socklen_t;
    // SAFETY: the value is an integer of `len` bytes that outlives the call.
    let rc = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(&value).cast(), len) };
    check(rc as isize).map(drop)
}

/// Buffers for a batch of datagrams.
///
/// The headers point into the other vectors, which never grow and never move while the batch lives.
pub(super) struct Batch {
    bytes: Vec<u8>,
    names: Vec<libc::sockaddr_storage>,
    parts: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    lengths: [usize; BATCH],
}

impl Batch {
    pub(super) fn new() -> Self {
        // SAFETY: all three are plain C structures for which zero bytes are valid.
        let (name, part, header) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        Self {
            bytes: vec![0; BATCH * STRIDE],
            names: vec![name; BATCH],
            parts: vec![part; BATCH],
            headers: vec![header; BATCH],
            lengths: [0; BATCH],
        }
    }

    /// Bytes reserved by a batch.
    pub(super) const fn size() -> usize {
        BATCH * STRIDE
    }

    /// Receives what is there, up to a batch; says how many. `names`: also from whom.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, names: bool) -> io::Result<usize> {
        for i in 0..BATCH {
            self.parts[i] = libc::iovec { iov_base: self.bytes[i * STRIDE..].as_mut_ptr().cast(), iov_len: 65_536 };
            let header = &mut self.headers[i];
            header.msg_len = 0;
            header.msg_hdr.msg_iov = &raw mut self.parts[i];
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_flags = 0;
            header.msg_hdr.msg_name = if names { (&raw mut self.names[i]).cast() } else { std::ptr::null_mut() };
            header.msg_hdr.msg_namelen =
                if names { mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t } else { 0 };
        }
        // SAFETY: every header points at a name and a buffer of the stated size, all owned by `self`.
        let n = check(unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        } as isize)?;
        for i in 0..n {
            self.lengths[i] = self.headers[i].msg_len as usize;
        }
        Ok(n)
    }

    /// Length of datagram `i` of the last batch.
    pub(super) fn length(&self, i: usize) -> usize {
        self.lengths[i]
    }

    /// Who sent datagram `i` of the last batch received with names.
    pub(super) fn source(&self, i: usize) -> Option<SocketAddr> {
        from_storage(&self.names[i])
    }

    /// Sends datagrams `first..end` of the last batch, to `to` or to where the socket is connected; says how many went.
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        first: usize,
        end: usize,
        to: Option<SocketAddr>,
    ) -> io::Result<usize> {
        let mut name = to.map(to_storage);
        for i in first..end.min(BATCH) {
            self.parts[i] =
                libc::iovec { iov_base: self.bytes[i * STRIDE..].as_mut_ptr().cast(), iov_len: self.lengths[i] };
            let header = &mut self.headers[i].msg_hdr;
            header.msg_iov = &raw mut self.parts[i];
            header.msg_iovlen = 1;
            (header.msg_name, header.msg_namelen) =
                name.as_mut().map_or((std::ptr::null_mut(), 0), |(n, len)| (std::ptr::from_mut(n).cast(), *len));
        }
        let headers = &mut self.headers[first..end.min(BATCH)];
        // SAFETY: every header points at a buffer of `self` and at `name`, which outlive the call.
        check(unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as u32,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        } as isize)
    }
}

fn from_storage(s: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(s.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the kernel wrote a sockaddr_in, which is smaller than the storage.
            let a = unsafe { &*std::ptr::from_ref(s).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(a.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(a.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the kernel wrote a sockaddr_in6, which is smaller than the storage.
            let a = unsafe { &*std::ptr::from_ref(s).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(a.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(a.sin6_port), 0, a.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn to_storage(a: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: plain integers, for which zero is valid.
    let mut s: libc::sockaddr_storage = unsafe { mem::zeroed() };
    match a {
        SocketAddr::V4(a) => {
            // SAFETY: the storage is larger than a sockaddr_in and aligned for any address.
            let out = unsafe { &mut *(&raw mut s).cast::<libc::sockaddr_in>() };
            out.sin_family = libc::AF_INET as libc::sa_family_t;
            out.sin_port = a.port().to_be();
            out.sin_addr.s_addr = u32::from_ne_bytes(a.ip().octets());
            (s, mem::size_of::<libc::sockaddr_in>() as libc::socklen_t)
        }
        SocketAddr::V6(a) => {
            // SAFETY: the storage is larger than a sockaddr_in6 and aligned for any address.
            let out = unsafe { &mut *(&raw mut s).cast::<libc::sockaddr_in6>() };
            out.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            out.sin6_port = a.port().to_be();
            out.sin6_addr.s6_addr = a.ip().octets();
            out.sin6_scope_id = a.scope_id();
            (s, mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t)
        }
    }
}
