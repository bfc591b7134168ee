//! Packets written as layers, from the outside in.
//!
//! Nothing of `lb` is used to write them: etherparse encodes (see [`super::wire`]), so that a mistake of ours in byte
//! order or checksums cannot cancel itself out.

use std::net::IpAddr;

pub type Mac = [u8; 6];

/// Ports below this are names: in an expected packet the first use of such a number takes the port that the program
/// chose (and checks that it was free to), later uses stand for that port.
pub const FIRST_REAL_PORT: u16 = 16;

/// One Ethernet frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub from: Mac,
    pub to: Mac,
    /// VLAN tags, outermost first: tag protocol and identifier.
    pub tags: Vec<(u16, u16)>,
    pub ip: Ip,
    pub body: Body,
    /// Bytes after the IP packet, such as padding to the minimal frame.
    pub trailer: Vec<u8>,
    /// What is spoilt after encoding, in this order.
    pub edits: Vec<Edit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ip {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub ttl: u8,
    pub tos: u8,
    /// IPv4 identification, or the fragment header's.
    pub id: u16,
    /// Offset in units of eight bytes, and whether more follow. With IPv6 a fragment header is written.
    pub fragment: Option<(u16, bool)>,
    /// IPv4 only; a multiple of four bytes.
    pub options: Vec<u8>,
    /// IPv6 only, in the order given, before the fragment header.
    pub extensions: Vec<Extension>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Hop-by-hop (0), routing (43), destination options (60), or any other of that form: number and content, which must
    /// be 6 bytes, or 6 and a multiple of 8.
    Plain(u8, Vec<u8>),
    /// Authentication header with an integrity value of 12 bytes.
    Auth,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Tcp(Tcp),
    Udp(Udp),
    /// ICMP or ICMPv6 by the family of the packet.
    Icmp(Icmp),
    /// Anything else: protocol number and bytes.
    Raw(u8, Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    pub src_port: u16,
    pub dst_port: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: Flags,
    pub window: u16,
    /// Options as bytes; padded to a multiple of four.
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
}

/// The letters of [`Frame::tcp`]'s `flags`: S, A, F, R, P, U.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    pub syn: bool,
    pub ack: bool,
    pub fin: bool,
    pub rst: bool,
    pub psh: bool,
    pub urg: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Udp {
    pub src_port: u16,
    pub dst_port: u16,
    pub payload: Vec<u8>,
    /// Sent with checksum 0.
    pub unsummed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Icmp {
    pub kind: u8,
    pub code: u8,
    /// The second word: identifier and sequence, or MTU.
    pub word: u32,
    pub payload: Quote,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quote {
    Bytes(Vec<u8>),
    /// The layer-3 packet of a frame, as sent, cut to so many bytes.
    Packet(Box<Frame>, usize),
}

/// A wound given to an encoded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Cut to so many bytes.
    Cut(usize),
    /// Overwrite at an offset from the start of the layer-3 header.
    Net(usize, Vec<u8>),
    /// Overwrite at an offset from the start of the layer-4 header.
    Transport(usize, Vec<u8>),
    /// Overwrite at an offset from the start of the frame.
    Link(usize, Vec<u8>),
}

impl Flags {
    fn parse(letters: &str) -> Self {
        let has = |c| letters.contains(c);
        assert!(letters.chars().all(|c| "SAFRPU".contains(c)), "flags are letters of SAFRPU, not {letters:?}");
        Self { syn: has('S'), ack: has('A'), fin: has('F'), rst: has('R'), psh: has('P'), urg: has('U') }
    }
}

/// Starts a frame: Ethernet addresses and IP addresses of one family.
#[must_use]
pub fn ip(from: Mac, to: Mac, src: IpAddr, dst: IpAddr) -> Frame {
    assert_eq!(src.is_ipv4(), dst.is_ipv4(), "{src} and {dst} are of two families");
    Frame {
        from,
        to,
        tags: Vec::new(),
        ip: Ip { src, dst, ttl: 61, tos: 0, id: 0x1234, fragment: None, options: Vec::new(), extensions: Vec::new() },
        body: Body::Raw(59, Vec::new()),
        trailer: Vec::new(),
        edits: Vec::new(),
    }
}

impl Frame {
    #[must_use]
    pub fn tcp(mut self, src_port: u16, dst_port: u16, flags: &str) -> Self {
        let flags = Flags::parse(flags);
        let ack = if flags.ack { 7001 } else { 0 };
        self.body = Body::Tcp(Tcp {
            src_port,
            dst_port,
            seq: 1000,
            ack,
            flags,
            window: 0xfaf0,
            options: Vec::new(),
            payload: Vec::new(),
        });
        self
    }

    #[must_use]
    pub fn udp(mut self, src_port: u16, dst_port: u16, payload: &[u8]) -> Self {
        self.body = Body::Udp(Udp { src_port, dst_port, payload: payload.to_vec(), unsummed: false });
        self
    }

    #[must_use]
    pub fn icmp(mut self, kind: u8, code: u8, word: u32, payload: Quote) -> Self {
        self.body = Body::Icmp(Icmp { kind, code, word, payload });
        self
    }

    #[must_use]
    pub fn raw(mut self, protocol: u8, bytes: &[u8]) -> Self {
        self.body = Body::Raw(protocol, bytes.to_vec());
        self
    }

    #[must_use]
    pub fn payload(mut self, bytes: &[u8]) -> Self {
        match &mut self.body {
            Body::Tcp(t) => t.payload = bytes.to_vec(),
            Body::Udp(u) => u.payload = bytes.to_vec(),
            Body::Icmp(i) => i.payload = Quote::Bytes(bytes.to_vec()),
            Body::Raw(_, b) => *b = bytes.to_vec(),
        }
        self
    }

    #[must_use]
    pub fn seq(mut self, seq: u32, ack: u32) -> Self {
        if let Body::Tcp(t) = &mut self.body {
            (t.seq, t.ack) = (seq, ack);
        }
        self
    }

    #[must_use]
    pub fn window(mut self, window: u16) -> Self {
        if let Body::Tcp(t) = &mut self.body {
            t.window = window;
        }
        self
    }

    /// TCP options, written as bytes.
    #[must_use]
    pub fn tcp_options(mut self, bytes: &[u8]) -> Self {
        if let Body::Tcp(t) = &mut self.body {
            t.options = bytes.to_vec();
        }
        self
    }

    /// UDP without a checksum.
    #[must_use]
    pub fn unsummed(mut self) -> Self {
        if let Body::Udp(u) = &mut self.body {
            u.unsummed = true;
        }
        self
    }

    /// Adds an inner VLAN tag (802.1Q).
    #[must_use]
    pub fn vlan(mut self, id: u16) -> Self {
        self.tags.push((0x8100, id));
        self
    }

    /// Adds an inner service tag (802.1ad).
    #[must_use]
    pub fn service_vlan(mut self, id: u16) -> Self {
        self.tags.push((0x88a8, id));
        self
    }

    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ip.ttl = ttl;
        self
    }

    #[must_use]
    pub fn tos(mut self, tos: u8) -> Self {
        self.ip.tos = tos;
        self
    }

    #[must_use]
    pub fn options(mut self, bytes: &[u8]) -> Self {
        self.ip.options = bytes.to_vec();
        self
    }

    #[must_use]
    pub fn extension(mut self, e: Extension) -> Self {
        self.ip.extensions.push(e);
        self
    }

    #[must_use]
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.ip.fragment = Some((offset, more));
        self
    }

    #[must_use]
    pub fn trailer(mut self, bytes: &[u8]) -> Self {
        self.trailer = bytes.to_vec();
        self
    }

    #[must_use]
    pub fn edit(mut self, e: Edit) -> Self {
        self.edits.push(e);
        self
    }

    /// Other Ethernet addresses.
    #[must_use]
    pub fn link(mut self, from: Mac, to: Mac) -> Self {
        (self.from, self.to) = (from, to);
        self
    }

    /// Other IP addresses.
    #[must_use]
    pub fn between(mut self, src: IpAddr, dst: IpAddr) -> Self {
        (self.ip.src, self.ip.dst) = (src, dst);
        self
    }

    /// Other ports.
    #[must_use]
    pub fn ports(mut self, src: u16, dst: u16) -> Self {
        if let Some((s, d)) = self.ports_mut() {
            (*s, *d) = (src, dst);
        }
        self
    }

    /// Source and destination port, if the packet has them.
    pub fn ports_mut(&mut self) -> Option<(&mut u16, &mut u16)> {
        match &mut self.body {
            Body::Tcp(t) => Some((&mut t.src_port, &mut t.dst_port)),
            Body::Udp(u) => Some((&mut u.src_port, &mut u.dst_port)),
            Body::Icmp(_) | Body::Raw(..) => None,
        }
    }

    /// Every port of the packet and of what it quotes.
    pub fn each_port(&mut self, f: &mut impl FnMut(&mut u16)) {
        if let Some((s, d)) = self.ports_mut() {
            f(s);
            f(d);
        }
        if let Body::Icmp(Icmp { payload: Quote::Packet(inner, _), .. }) = &mut self.body {
            inner.each_port(f);
        }
    }

    /// Bytes of Ethernet header and tags.
    #[must_use]
    pub fn link_len(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    #[must_use]
    pub fn is_v4(&self) -> bool {
        self.ip.src.is_ipv4()
    }
}
