//! Wire formats, in network byte order. Words are declared as wide as the checksum code wants them.

/// RFC 791 §3.1.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ipv4 {
    pub version_ihl: u8,
    pub tos: u8,
    pub total_length: u16,
    pub id: u16,
    pub fragment: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub check: u16,
    pub src: u32,
    pub dst: u32,
}
const _: () = assert!(size_of::<Ipv4>() == 20);

/// Mask of the fragment offset and the more-fragments flag.
pub const IPV4_FRAGMENT: u16 = 0x3fff_u16.to_be();

/// RFC 8200 §3.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ipv6 {
    pub version_class_flow: u32,
    pub payload_length: u16,
    pub next_header: u8,
    pub hop_limit: u8,
    pub src: [u32; 4],
    pub dst: [u32; 4],
}
const _: () = assert!(size_of::<Ipv6>() == 40);

/// The first four bytes of most extension headers (RFC 8200 §4).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Extension {
    pub next_header: u8,
    pub length: u8,
    /// These two of a routing header alone (RFC 8200 §4.4).
    pub routing_type: u8,
    pub segments_left: u8,
}

/// RFC 9293 §3.1.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Tcp {
    pub src_port: u16,
    pub dst_port: u16,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub data_offset: u8,
    pub flags: u8,
    pub window: u16,
    pub check: u16,
    pub urgent: u16,
}
const _: () = assert!(size_of::<Tcp>() == 20);

pub mod tcp_flag {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const ACK: u8 = 0x10;
}

/// RFC 768.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Udp {
    pub src_port: u16,
    pub dst_port: u16,
    pub length: u16,
    pub check: u16,
}
const _: () = assert!(size_of::<Udp>() == 8);

/// RFC 792, RFC 4443 §2.1.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Icmp {
    pub kind: u8,
    pub code: u8,
    pub check: u16,
    pub rest: u32,
}
const _: () = assert!(size_of::<Icmp>() == 8);
