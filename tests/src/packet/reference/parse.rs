//! What a frame says, read byte by byte from slices.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::net::proto;
use lb_common::reason::Reason;

/// Addresses and ports as they stand in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tuple {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub src_port: u16,
    pub dst_port: u16,
    pub protocol: u8,
}

impl Tuple {
    #[must_use]
    pub const fn reversed(self) -> Self {
        let Self { src, dst, src_port, dst_port, protocol } = self;
        Self { src: dst, dst: src, src_port: dst_port, dst_port: src_port, protocol }
    }
}

/// A packet that can be balanced, or an ICMP message.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub tuple: Tuple,
    /// Offsets of the IP header, of what follows it and its extensions, and of the byte after the packet.
    pub net: usize,
    pub transport: usize,
    pub end: usize,
    pub flags: u8,
}

#[derive(Clone, Copy, Debug)]
pub enum Parsed {
    Packet(Packet),
    /// To this address, but not to be balanced.
    Bad(IpAddr, Reason),
    NotIp,
}

pub mod flag {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const ACK: u8 = 16;
}

#[must_use]
pub fn parse(frame: &[u8]) -> Parsed {
    // At most two tags.
    let mut at = 12;
    let mut ethertype = word(frame, at);
    for _ in 0..2 {
        if matches!(ethertype, Some(0x8100 | 0x88a8)) {
            at += 4;
            ethertype = word(frame, at);
        }
    }
    let net = at + 2;
    match ethertype {
        Some(0x0800) if frame.len() >= net + 20 => ipv4(frame, net),
        Some(0x86dd) if frame.len() >= net + 40 => ipv6(frame, net),
        _ => Parsed::NotIp,
    }
}

fn ipv4(frame: &[u8], net: usize) -> Parsed {
    let ip = &frame[net..];
    let (src, dst) = (v4(&ip[12..]), v4(&ip[16..]));
    let (header, total) = (usize::from(ip[0] & 15) * 4, usize::from(be(ip, 2)));
    if ip[0] >> 4 != 4 || header < 20 || total < header || total > ip.len() {
        return Parsed::Bad(dst, Reason::Malformed);
    }
    // An offset, or more to follow.
    if be(ip, 6) & 0x3fff != 0 {
        return Parsed::Bad(dst, Reason::Fragment);
    }
    transport(frame, Ends { src, dst, net, transport: net + header, end: net + total, protocol: ip[9] })
}

fn ipv6(frame: &[u8], net: usize) -> Parsed {
    let ip = &frame[net..];
    let (src, dst) = (v6(&ip[8..]), v6(&ip[24..]));
    let end = net + 40 + usize::from(be(ip, 4));
    if ip[0] >> 4 != 6 || end > frame.len() {
        return Parsed::Bad(dst, Reason::Malformed);
    }
    let (mut next, mut at) = (ip[6], net + 40);
    let mut headers = 0;
    loop {
        match next {
            44 => return Parsed::Bad(dst, Reason::Fragment),
            0 | 43 | 51 | 60 if headers == 6 => return Parsed::Bad(dst, Reason::Unsupported),
            0 | 43 | 51 | 60 => {}
            _ => return transport(frame, Ends { src, dst, net, transport: at, end, protocol: next }),
        }
        if at + 8 > end {
            return Parsed::Bad(dst, Reason::Malformed);
        }
        if next == 43 && frame[at + 3] != 0 {
            return Parsed::Bad(dst, Reason::Unsupported);
        }
        let units = usize::from(frame[at + 1]);
        let length = if next == 51 { (units + 2) * 4 } else { (units + 1) * 8 };
        next = frame[at];
        at += length;
        headers += 1;
        if at > end {
            return Parsed::Bad(dst, Reason::Malformed);
        }
        // Headers are followed 512 bytes into the frame.
        if at > 512 {
            return Parsed::Bad(dst, Reason::Unsupported);
        }
    }
}

struct Ends {
    src: IpAddr,
    dst: IpAddr,
    net: usize,
    transport: usize,
    end: usize,
    protocol: u8,
}

fn transport(frame: &[u8], e: Ends) -> Parsed {
    let body = &frame[e.transport..e.end];
    let known = match e.protocol {
        proto::TCP => tcp(body),
        proto::UDP => udp(body, e.dst.is_ipv6()),
        proto::ICMP if e.dst.is_ipv4() => icmp(body),
        proto::ICMPV6 if e.dst.is_ipv6() => icmp(body),
        _ => Err(Reason::Unsupported),
    };
    match known {
        Ok((src_port, dst_port, flags)) => {
            let tuple = Tuple { src: e.src, dst: e.dst, src_port, dst_port, protocol: e.protocol };
            Parsed::Packet(Packet { tuple, net: e.net, transport: e.transport, end: e.end, flags })
        }
        Err(reason) => Parsed::Bad(e.dst, reason),
    }
}

fn tcp(body: &[u8]) -> Result<(u16, u16, u8), Reason> {
    if body.len() < 20 {
        return Err(Reason::Malformed);
    }
    let header = usize::from(body[12] >> 4) * 4;
    if header < 20 || header > body.len() { Err(Reason::Malformed) } else { Ok((be(body, 0), be(body, 2), body[13])) }
}

fn udp(body: &[u8], needs_checksum: bool) -> Result<(u16, u16, u8), Reason> {
    if body.len() < 8 {
        return Err(Reason::Malformed);
    }
    let length = usize::from(be(body, 4));
    let unsummed = needs_checksum && be(body, 6) == 0;
    if length < 8 || length > body.len() || unsummed {
        Err(Reason::Malformed)
    } else {
        Ok((be(body, 0), be(body, 2), 0))
    }
}

fn icmp(body: &[u8]) -> Result<(u16, u16, u8), Reason> {
    if body.len() < 8 { Err(Reason::Malformed) } else { Ok((0, 0, 0)) }
}

/// The packet that an ICMP error quotes.
#[derive(Clone, Copy, Debug)]
pub struct Quoted {
    pub tuple: Tuple,
    pub net: usize,
    pub transport: usize,
}

/// Reads the quote of the ICMP message in `p`; `None` if it does not show the ports of a TCP or UDP packet.
#[must_use]
pub fn quoted(frame: &[u8], p: &Packet) -> Option<Quoted> {
    let net = p.transport + 8;
    let quote = &frame[net..p.end];
    let v4_quote = p.tuple.dst.is_ipv4();
    let (src, dst, protocol, header) = if v4_quote {
        if quote.len() < 20 || quote[0] >> 4 != 4 || quote[0] & 15 < 5 || be(quote, 6) & 0x1fff != 0 {
            return None;
        }
        (v4(&quote[12..]), v4(&quote[16..]), quote[9], usize::from(quote[0] & 15) * 4)
    } else {
        if quote.len() < 40 {
            return None;
        }
        (v6(&quote[8..]), v6(&quote[24..]), quote[6], 40)
    };
    if ![proto::TCP, proto::UDP].contains(&protocol) || quote.len() < header + 8 {
        return None;
    }
    let (src_port, dst_port) = (be(quote, header), be(quote, header + 2));
    Some(Quoted { tuple: Tuple { src, dst, src_port, dst_port, protocol }, net, transport: net + header })
}

fn v4(b: &[u8]) -> IpAddr {
    Ipv4Addr::new(b[0], b[1], b[2], b[3]).into()
}

fn v6(b: &[u8]) -> IpAddr {
    let bytes: [u8; 16] = b[..16].try_into().expect("sixteen bytes");
    Ipv6Addr::from(bytes).into()
}

fn word(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*b.get(at)?, *b.get(at + 1)?]))
}

/// A big-endian word that is known to be there.
#[must_use]
pub fn be(b: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([b[at], b[at + 1]])
}
