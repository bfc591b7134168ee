//! `type = "udp"`: a datagram is sent and one comes back.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::words;
use crate::Outcome;

/// Sends once and takes the first answer. A port that nobody listens on says so by ICMP, which the connected socket
/// hands over as "connection refused".
pub(super) async fn probe(address: SocketAddr, send: &[u8], expect: Option<&[u8]>) -> Outcome {
    let own: SocketAddr =
        if address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(own).await.map_err(|e| words(&e))?;
    socket.connect(address).await.map_err(|e| words(&e))?;
    socket.send(send).await.map_err(|e| words(&e))?;
    let mut answer = vec![0; 65_535];
    let length = socket.recv(&mut answer).await.map_err(|e| words(&e))?;
    match expect {
        Some(start) if !answer[..length].starts_with(start) => {
            Err(format!("the answer begins with \"{}\", expected \"{}\"", shown(&answer[..length]), shown(start)))
        }
        _ => Ok(()),
    }
}

/// The first bytes, as text where they are text.
fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 32;
    let mut text = bytes[..bytes.len().min(MOST)].escape_ascii().to_string();
    if bytes.len() > MOST {
        text.push('…');
    }
    text
}
