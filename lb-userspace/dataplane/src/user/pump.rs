//! One direction of a connection: bytes from one socket to the other, in order, with back-pressure and the end passed on.
//!
//! Small amounts are copied through one buffer that all connections of the worker share, without waiting and without a
//! buffer of their own: a receive and a send. A read that fills the buffer means bulk, and bulk goes through a pipe by
//! `splice` without being copied to user space. A pipe is held only while bytes are in it.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::sys::Pipe;

/// Largest amount copied at once; more means bulk.
const COPY: usize = 32 * 1024;
/// Bytes asked of a splice, and a pipe's size.
const BULK: usize = 256 * 1024;
/// A splice that yields less than this returns to copying.
const SMALL: usize = 8 * 1024;
/// Reads in a row before other connections get their turn.
const ROUNDS: usize = 16;
/// Empty pipes kept by a worker.
const SPARE_PIPES: usize = 64;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; COPY].into_boxed_slice());
    static PIPES: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// Which side failed.
#[derive(Debug)]
pub(super) enum Broken {
    Source,
    Sink,
}

#[derive(Debug, Default)]
pub(super) struct Pump {
    /// Bytes read and not yet written: `rest[at..]`.
    rest: Vec<u8>,
    at: usize,
    pipe: Option<Pipe>,
    in_pipe: usize,
    bulk: bool,
    /// The kernel cannot splice here.
    copy_only: bool,
    ended: bool,
    /// `TCP_NODELAY` is still to be set on the sink: before the second write, since the first is never held back.
    delayed: bool,
    written: bool,
    /// The sink is about to be closed, which tells it as well as a `shutdown`.
    pub(super) last: bool,
}

impl Pump {
    /// Towards a socket that has no `TCP_NODELAY` yet, with bytes to be written before anything that is read.
    pub(super) fn to_fresh(prefix: Vec<u8>) -> Self {
        Self { rest: prefix, delayed: true, ..Self::default() }
    }

    /// Moves what can be moved. Ready when the source has ended and the sink was told (`shutdown`).
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        to: &TcpStream,
        seen: &mut impl FnMut(usize),
    ) -> Poll<Result<(), Broken>> {
        let outcome = self.run(cx, from, to, seen);
        if self.in_pipe == 0
            && let Some(pipe) = self.pipe.take()
        {
            give_back(pipe);
        }
        outcome
    }

    fn run(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        to: &TcpStream,
        seen: &mut impl FnMut(usize),
    ) -> Poll<Result<(), Broken>> {
        for _ in 0..ROUNDS {
            ready!(self.flush(cx, to))?;
            if self.ended {
                if !self.last {
                    let _already_gone = SockRef::from(to).shutdown(std::net::Shutdown::Write);
                }
                return Poll::Ready(Ok(()));
            }
            let n = if self.bulk { ready!(self.splice(cx, from)) } else { ready!(self.copy(cx, from, to)) }?;
            if n > 0 {
                seen(n);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what is held.
    fn flush(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<Result<(), Broken>> {
        while self.at < self.rest.len() || self.in_pipe > 0 {
            ready!(to.poll_write_ready(cx)).map_err(|_| Broken::Sink)?;
            self.undelay(to);
            let written = match (&self.pipe, self.in_pipe) {
                (Some(pipe), n) if n > 0 => to.try_io(Interest::WRITABLE, || pipe.drain(to.as_fd(), n)),
                _ => to.try_write(&self.rest[self.at..]),
            };
            match written {
                Ok(0) => return Poll::Ready(Err(Broken::Sink)),
                Ok(n) => self.wrote(n),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(Err(Broken::Sink)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn undelay(&mut self, to: &TcpStream) {
        if self.delayed && self.written {
            self.delayed = false;
            let _already_gone = SockRef::from(to).set_tcp_nodelay(true);
        }
    }

    fn wrote(&mut self, n: usize) {
        self.written = true;
        if self.in_pipe > 0 {
            self.in_pipe -= n.min(self.in_pipe);
            return;
        }
        self.at += n;
        if self.at >= self.rest.len() {
            self.rest = Vec::new();
            self.at = 0;
        }
    }

    /// Reads into the worker's buffer and writes at once; what the sink does not take is kept.
    fn copy(&mut self, cx: &mut Context<'_>, from: &TcpStream, to: &TcpStream) -> Poll<Result<usize, Broken>> {
        BUFFER.with_borrow_mut(|buffer| {
            let n = ready!(receive(cx, from, buffer)).map_err(|_| Broken::Source)?;
            self.ended = n == 0;
            self.bulk = n == buffer.len() && !self.copy_only;
            if n == 0 {
                return Poll::Ready(Ok(0));
            }
            self.undelay(to);
            let written = match to.try_write(&buffer[..n]) {
                Ok(m) => m,
                Err(e) if e.kind() == ErrorKind::WouldBlock => 0,
                Err(_) => return Poll::Ready(Err(Broken::Sink)),
            };
            self.written |= written > 0;
            if written < n {
                self.rest = buffer[written..n].to_vec();
                self.at = 0;
            }
            Poll::Ready(Ok(n))
        })
    }

    /// Moves bulk from the source into a pipe, which is empty at this point: "would block" therefore means that the
    /// source has nothing.
    fn splice(&mut self, cx: &mut Context<'_>, from: &TcpStream) -> Poll<Result<usize, Broken>> {
        let Some(pipe) = self.pipe.take().or_else(take_pipe) else {
            return self.no_splice();
        };
        let pipe = self.pipe.insert(pipe);
        loop {
            ready!(from.poll_read_ready(cx)).map_err(|_| Broken::Source)?;
            match from.try_io(Interest::READABLE, || pipe.fill(from.as_fd(), BULK)) {
                Ok(n) => {
                    self.in_pipe = n;
                    self.ended = n == 0;
                    self.bulk = n >= SMALL;
                    return Poll::Ready(Ok(n));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => return self.no_splice(),
                Err(_) => return Poll::Ready(Err(Broken::Source)),
            }
        }
    }

    /// No pipe to be had, or no splice: copying does as well.
    fn no_splice(&mut self) -> Poll<Result<usize, Broken>> {
        self.bulk = false;
        self.copy_only = true;
        Poll::Ready(Ok(0))
    }
}

/// Receives what is there. A read that does not fill the buffer has emptied the socket: the readiness is taken back at
/// once, which saves the read that would say so.
fn receive(cx: &mut Context<'_>, from: &TcpStream, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
    loop {
        ready!(from.poll_read_ready(cx))?;
        let mut got = None;
        let outcome = from.try_io(Interest::READABLE, || {
            let n = (&*SockRef::from(from)).read(buffer)?;
            got = Some(n);
            if n > 0 && n < buffer.len() { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match (got, outcome) {
            (Some(n), _) => return Poll::Ready(Ok(n)),
            (None, Err(e)) if e.kind() != ErrorKind::WouldBlock => return Poll::Ready(Err(e)),
            _ => {}
        }
    }
}

fn take_pipe() -> Option<Pipe> {
    let spare = PIPES.with_borrow_mut(Vec::pop);
    spare.or_else(|| Pipe::new(BULK as i32).ok())
}

fn give_back(pipe: Pipe) {
    PIPES.with_borrow_mut(|spare| {
        if spare.len() < SPARE_PIPES {
            spare.push(pipe);
        }
    });
}
