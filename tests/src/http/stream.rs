//! A connection in clear text or over TLS, from either side, read with a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use crate::clock;

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read1 {
    Bytes(usize),
    End,
    /// The other side reset the connection.
    Reset,
    Late,
}

#[derive(Debug)]
pub enum Stream {
    Clear(TcpStream),
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Stream {
    /// # Errors
    /// If nobody listens there.
    pub fn connect(to: SocketAddr) -> Result<Self> {
        let tcp = TcpStream::connect_timeout(&to, Duration::from_secs(5)).with_context(|| format!("no {to}"))?;
        tcp.set_nodelay(true)?;
        tcp.set_write_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self::Clear(tcp))
    }

    /// The same over TLS, the handshake done.
    ///
    /// # Errors
    /// If the handshake fails.
    pub fn connect_tls(to: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> Result<Self> {
        let Self::Clear(mut tcp) = Self::connect(to)? else { anyhow::bail!("not clear") };
        tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut tls = ClientConnection::new(Arc::clone(config), ServerName::try_from(name.to_owned())?)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp).context("TLS handshake")?;
        }
        Ok(Self::Client(Box::new(StreamOwned::new(tls, tcp))))
    }

    /// # Errors
    /// If the connection cannot be prepared; the handshake is done by the first read.
    pub fn accept_tls(tcp: TcpStream, config: &Arc<ServerConfig>) -> Result<Self> {
        Ok(Self::Server(Box::new(StreamOwned::new(ServerConnection::new(Arc::clone(config))?, tcp))))
    }

    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Clear(s) => s,
            Self::Client(s) => &s.sock,
            Self::Server(s) => &s.sock,
        }
    }

    fn inner(&mut self) -> &mut dyn ReadWrite {
        match self {
            Self::Clear(s) => s,
            Self::Client(s) => s,
            Self::Server(s) => s,
        }
    }

    /// The protocol chosen in the handshake.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Client(s) => s.conn.alpn_protocol(),
            _ => None,
        }
    }

    /// # Errors
    /// If the other side has gone.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let inner = self.inner();
        inner.write_all(bytes)?;
        inner.flush()
    }

    /// Reads what is there, at the latest at `by`.
    ///
    /// # Errors
    /// If the connection fails in another way than by a reset.
    pub fn read_by(&mut self, by: Instant, into: &mut Vec<u8>) -> Result<Read1> {
        let mut part = [0; 16 << 10];
        loop {
            let left = by.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Ok(Read1::Late);
            }
            self.tcp().set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match self.inner().read(&mut part) {
                Ok(0) => return Ok(Read1::End),
                Ok(n) => {
                    into.extend_from_slice(&part[..n]);
                    return Ok(Read1::Bytes(n));
                }
                Err(e) => match e.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    ErrorKind::UnexpectedEof => return Ok(Read1::End),
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
                        return Ok(Read1::Reset);
                    }
                    _ => return Err(e).context("read"),
                },
            }
        }
    }

    /// Says that nothing more will be sent, below TLS.
    pub fn end(&mut self) {
        if let Self::Client(s) = self {
            s.conn.send_close_notify();
            let _ = s.flush();
        }
        let _ = self.tcp().shutdown(Shutdown::Write);
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}
