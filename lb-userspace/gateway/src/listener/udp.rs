//! UDP sockets for QUIC: several of one address, each with an endpoint of its own, and packets steered between them by
//! connection ID, so that a client that changes its address (RFC 9000 §9) still meets the endpoint that knows it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use rand::{RngCore as _, SeedableRng as _, rngs::StdRng};
use socket2::{Domain, Socket, Type};

use super::socket::{free_bind, in_words};

/// What a connection ID's first byte can tell apart.
const MOST: usize = 256;
const CID: usize = 8;
/// Bytes that wait in a socket: bursts of many clients at once.
const BUFFER: usize = 2 << 20;

/// Which of an address's sockets one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub index: u8,
    /// 1 to 256.
    pub of: u16,
}

impl Share {
    /// All of them, in order.
    pub(crate) fn all(count: usize) -> impl Iterator<Item = Self> {
        let count = count.clamp(1, MOST);
        (0..count).map(move |i| Self {
            index: u8::try_from(i).unwrap_or(u8::MAX),
            of: u16::try_from(count).unwrap_or(u16::MAX),
        })
    }

    pub(crate) fn endpoint(self) -> EndpointConfig {
        let mut config = EndpointConfig::default();
        config.cid_generator(move || Box::new(Steered { share: self, chance: StdRng::from_os_rng() }));
        config
    }

    /// A byte that is steered here.
    fn byte(self, random: u8) -> u8 {
        let (random, of) = (u16::from(random), self.of);
        let byte = random - random % of + u16::from(self.index);
        u8::try_from(byte).unwrap_or_else(|_| u8::try_from(byte - of).unwrap_or(self.index))
    }
}

/// Opens up to `count` sockets of an address, all or none, and has packets steered between them. `ours`: we have some there
/// already.
///
/// # Errors
/// Why not, in words.
pub(crate) fn open(address: SocketAddr, count: usize, ours: bool) -> Result<Vec<UdpSocket>, String> {
    let count = count.clamp(1, MOST);
    let opened = || {
        if !ours {
            // A port shared with another process would go unnoticed: asks for it unshared first.
            bound(address, false)?;
        }
        let sockets = (0..count).map(|_| bound(address, true)).collect::<io::Result<Vec<_>>>()?;
        steer(&sockets)?;
        Ok(sockets)
    };
    opened().map_err(|e: io::Error| in_words(address, &e))
}

fn bound(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let s = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking().cloexec(), None)?;
    s.set_reuse_port(shared)?;
    free_bind(&s, address)?;
    // The kernel gives what it is allowed to.
    let _ = s.set_recv_buffer_size(BUFFER);
    let _ = s.set_send_buffer_size(BUFFER);
    s.bind(&address.into())?;
    Ok(s.into())
}

/// A program of the kernel's for the whole group: a long header's destination ID begins at byte 6, a short one's at byte 1
/// (RFC 9000 §17). The client's own first choice lands anywhere; what we choose after it comes back to the same socket.
fn steer(sockets: &[UdpSocket]) -> io::Result<()> {
    let (Some(first), Ok(count)) = (sockets.first(), u32::try_from(sockets.len())) else { return Ok(()) };
    if count == 1 {
        return Ok(());
    }
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: u16::try_from(code).unwrap_or_default(), jt, jf, k };
    let byte = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
    let mut program = [
        step(byte, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, 2, 0x80),
        step(byte, 0, 0, 6),
        step(libc::BPF_JMP | libc::BPF_JA, 0, 0, 1),
        step(byte, 0, 0, 1),
        step(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, 0, count),
        step(libc::BPF_RET | libc::BPF_A, 0, 0, 0),
    ];
    let length = u16::try_from(program.len()).unwrap_or_default();
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    setsockopt(first, sockopt::AttachReusePortCbpf, &program).map_err(io::Error::from)
}

/// Random, but for what is left of the first byte divided by the number of sockets.
struct Steered {
    share: Share,
    chance: StdRng,
}

impl ConnectionIdGenerator for Steered {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; CID];
        self.chance.fill_bytes(&mut bytes);
        bytes[0] = self.share.byte(bytes[0]);
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        CID
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_leads_back_to_its_socket() {
        for count in [1, 2, 3, 7, 64, 255, 256] {
            for share in Share::all(count) {
                for random in 0..=255u8 {
                    assert_eq!(usize::from(share.byte(random)) % count, usize::from(share.index), "{count} {random}");
                }
            }
        }
    }

    #[test]
    fn the_kernel_steers_by_connection_id() {
        let address: SocketAddr = "127.0.0.1:0".parse().expect("address");
        let address = bound(address, false).and_then(|s| s.local_addr()).expect("a free port");
        let sockets = open(address, 3, false).expect("opened");
        for s in &sockets {
            s.set_nonblocking(false).expect("blocks");
            s.set_read_timeout(Some(Duration::from_secs(5))).expect("bounded");
        }
        for first in 0..=255u8 {
            // From another port each time: what the kernel would hash by itself.
            let client = UdpSocket::bind("127.0.0.1:0").expect("client");
            let long = [0xc0, 0, 0, 0, 1, 8, first, 1, 1, 1, 1, 1, 1, 1];
            let short = [0x40, first, 1, 1, 1, 1, 1, 1, 1];
            for packet in [&long[..], &short[..]] {
                client.send_to(packet, address).expect("sent");
                let mut got = [0; 32];
                let n = sockets[usize::from(first) % 3].recv(&mut got).expect("steered");
                assert_eq!(&got[..n], packet);
            }
        }
    }

    #[test]
    fn a_port_in_use_is_said() {
        let taken = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let address = taken.local_addr().expect("address");
        assert_eq!(open(address, 2, false).expect_err("taken"), "another process listens there");
    }
}
