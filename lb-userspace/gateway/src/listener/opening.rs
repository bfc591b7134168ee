//! The first bytes of a connection, looked at without taking them: a PROXY header, or HTTP/2's preface.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::clock;
use crate::listener::proxy_protocol::{self, Fault};

/// RFC 9113 §3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Between looks at bytes that have come in part: they stay in the socket, so that nothing wakes us.
const AGAIN: Duration = Duration::from_millis(5);

/// Takes the PROXY header off. `Ok(None)`: the peer speaks for itself.
pub(crate) async fn proxy_header(stream: &mut TcpStream, within: Duration) -> io::Result<Option<SocketAddr>> {
    let until = clock::now() + within;
    let mut seen = [0; proxy_protocol::LONGEST];
    let (length, header) = loop {
        let n = peek(stream, &mut seen, until).await?;
        match proxy_protocol::parse(&seen[..n]) {
            Ok(Some(found)) => break found,
            Ok(None) => pause(until).await?,
            Err(fault @ (Fault::Missing | Fault::Broken)) => return Err(io::Error::other(fault)),
        }
    };
    stream.read_exact(&mut seen[..length]).await?;
    Ok(header.source)
}

/// Does the client speak HTTP/2 with prior knowledge? What is too short to tell when time is up is not.
pub(crate) async fn is_http2(stream: &TcpStream, within: Duration) -> io::Result<bool> {
    let until = clock::now() + within;
    let mut seen = [0; PREFACE.len()];
    loop {
        let n = match peek(stream, &mut seen, until).await {
            Err(e) if e.kind() == io::ErrorKind::TimedOut => return Ok(false),
            n => n?,
        };
        if seen[..n] != PREFACE[..n] {
            return Ok(false);
        }
        if n == PREFACE.len() {
            return Ok(true);
        }
        if pause(until).await.is_err() {
            return Ok(false);
        }
    }
}

async fn peek(stream: &TcpStream, into: &mut [u8], until: std::time::Instant) -> io::Result<usize> {
    let looked = tokio::time::timeout_at(until.into(), stream.peek(into)).await;
    match looked.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => Ok(n),
    }
}

async fn pause(until: std::time::Instant) -> io::Result<()> {
    if clock::now() >= until {
        return Err(io::ErrorKind::TimedOut.into());
    }
    tokio::time::sleep(AGAIN).await;
    Ok(())
}
