//! Checksums of a whole packet, recomputed from nothing: the third opinion beside the program's incremental updates and
//! etherparse's encoder.

/// Checks every checksum of a well-formed frame: IPv4 header, TCP, UDP, ICMP, ICMPv6. UDP over IPv4 may have none.
///
/// # Errors
/// Which sum is wrong, and what it should have been.
pub fn verify(frame: &[u8]) -> Result<(), String> {
    let mut at = 12;
    let mut ethertype = word(frame, at)?;
    while ethertype == 0x8100 || ethertype == 0x88a8 {
        at += 4;
        ethertype = word(frame, at)?;
    }
    let packet = &frame[at + 2..];
    match ethertype {
        0x0800 => verify_v4(packet),
        0x86dd => verify_v6(packet),
        other => Err(format!("neither IPv4 nor IPv6: {other:#06x}")),
    }
}

fn verify_v4(packet: &[u8]) -> Result<(), String> {
    let header = usize::from(byte(packet, 0)? & 0xf) * 4;
    let total = usize::from(word(packet, 2)?);
    let packet = packet.get(..total).ok_or("IPv4 total length beyond the frame")?;
    expect("IPv4 header", &packet[..header], 0)?;
    if word(packet, 6)? & 0x3fff != 0 {
        return Ok(()); // a fragment's layer 4 is not all here
    }
    let body = &packet[header..];
    let pseudo = sum(&packet[12..20]) + u64::from(packet[9]) + body.len() as u64;
    verify_transport(packet[9], body, pseudo)
}

fn verify_v6(packet: &[u8]) -> Result<(), String> {
    let total = 40 + usize::from(word(packet, 4)?);
    let packet = packet.get(..total).ok_or("IPv6 payload length beyond the frame")?;
    let (mut at, mut next) = (40, packet[6]);
    while [0, 43, 51, 60].contains(&next) {
        let length = usize::from(byte(packet, at + 1)?);
        let authentication = next == 51;
        next = byte(packet, at)?;
        at += if authentication { (length + 2) * 4 } else { (length + 1) * 8 };
    }
    let body = packet.get(at..).ok_or("extension headers beyond the packet")?;
    let pseudo = sum(&packet[8..40]) + u64::from(next) + body.len() as u64;
    verify_transport(next, body, pseudo)
}

fn verify_transport(protocol: u8, body: &[u8], pseudo: u64) -> Result<(), String> {
    match protocol {
        6 => expect("TCP", body, pseudo),
        17 if word(body, 6)? == 0 => Ok(()),
        17 => expect("UDP", body, pseudo),
        1 => expect("ICMP", body, 0),
        58 => expect("ICMPv6", body, pseudo),
        other => Err(format!("no checksum known for protocol {other}")),
    }
}

/// A sum over everything, checksum included, is all ones when right (RFC 1071 §1).
fn expect(what: &str, bytes: &[u8], start: u64) -> Result<(), String> {
    match folded(start + sum(bytes)) {
        0xffff => Ok(()),
        other => Err(format!("{what} checksum is off by {:#06x}", !other)),
    }
}

/// The one's-complement checksum of `bytes` after `start`, as RFC 1071 §4.1 writes it.
#[must_use]
pub fn checksum(start: u64, bytes: &[u8]) -> u16 {
    !folded(start + sum(bytes))
}

/// Sum of big-endian words, the last byte padded with zero.
#[must_use]
pub fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0))).sum()
}

/// Carries added back until the sum fits sixteen bits.
#[must_use]
pub fn folded(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

fn byte(b: &[u8], at: usize) -> Result<u8, String> {
    b.get(at).copied().ok_or_else(|| format!("cut off at byte {at}"))
}

fn word(b: &[u8], at: usize) -> Result<u16, String> {
    Ok(u16::from_be_bytes([byte(b, at)?, byte(b, at + 1)?]))
}
