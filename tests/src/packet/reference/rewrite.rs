//! Changing a frame: other addresses and ports, with checksums computed anew where they were right, and adjusted word by
//! word (RFC 1624, equation 3) where they were wrong or cannot be checked.

use std::net::IpAddr;

use lb_common::net::proto;

use super::parse::{Packet, Quoted, Tuple, be};
use crate::packet::layers::Mac;
use crate::packet::sums::{checksum, folded, sum};

/// Sets a frame's Ethernet addresses.
pub fn link(frame: &mut [u8], from: Mac, to: Mac) {
    frame[..6].copy_from_slice(&to);
    frame[6..12].copy_from_slice(&from);
}

/// A word that changed.
type Change = (u16, u16);

fn adjusted(check: u16, changes: &[Change]) -> u16 {
    let start = u64::from(!check);
    !folded(changes.iter().fold(start, |s, (old, new)| s + u64::from(!old) + u64::from(*new)))
}

fn set(frame: &mut [u8], at: usize, value: u16) {
    frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Writes bytes of whole words, and says which words changed.
fn write(frame: &mut [u8], at: usize, bytes: &[u8]) -> Vec<Change> {
    let changes = bytes.chunks(2).enumerate().map(|(i, new)| (be(frame, at + 2 * i), be(new, 0))).collect();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    changes
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// Source and destination address of an IP header, and its own checksum.
fn addresses(frame: &mut [u8], net: usize, src: IpAddr, dst: IpAddr) -> Vec<Change> {
    if src.is_ipv6() {
        return write(frame, net + 8, &[octets(src), octets(dst)].concat());
    }
    let changes = write(frame, net + 12, &[octets(src), octets(dst)].concat());
    let check = adjusted(be(frame, net + 10), &changes);
    set(frame, net + 10, check);
    changes
}

/// Gives a TCP or UDP packet another tuple.
pub fn ends(frame: &mut [u8], p: &Packet, to: &Tuple) {
    let at = p.transport + if p.tuple.protocol == proto::UDP { 6 } else { 16 };
    let was_right = is_right(frame, p);
    let mut changes = addresses(frame, p.net, to.src, to.dst);
    changes.extend(write(frame, p.transport, &[to.src_port.to_be_bytes(), to.dst_port.to_be_bytes()].concat()));
    finish(frame, &Packet { tuple: *to, ..*p }, at, was_right, &changes);
}

/// Writes a transport checksum after changes.
fn finish(frame: &mut [u8], p: &Packet, at: usize, was_right: bool, changes: &[Change]) {
    let udp = p.tuple.protocol == proto::UDP;
    if udp && be(frame, at) == 0 {
        return;
    }
    let check = if was_right {
        set(frame, at, 0);
        checksum(pseudo(p, body(frame, p).len()), body(frame, p))
    } else {
        adjusted(be(frame, at), changes)
    };
    set(frame, at, if udp && check == 0 { 0xffff } else { check });
}

/// The bytes that a transport checksum covers.
fn body<'a>(frame: &'a [u8], p: &Packet) -> &'a [u8] {
    let all = &frame[p.transport..p.end];
    if p.tuple.protocol == proto::UDP { &all[..usize::from(be(all, 4))] } else { all }
}

fn pseudo(p: &Packet, length: usize) -> u64 {
    if p.tuple.protocol == proto::ICMP {
        return 0;
    }
    sum(&octets(p.tuple.src)) + sum(&octets(p.tuple.dst)) + u64::from(p.tuple.protocol) + length as u64
}

fn is_right(frame: &[u8], p: &Packet) -> bool {
    let body = body(frame, p);
    folded(pseudo(p, body.len()) + sum(body)) == 0xffff
}

/// Lowers the MSS option of a SYN. At most ten options are looked at.
pub fn clamp(frame: &mut [u8], p: &Packet, most: u16) {
    let header = usize::from(frame[p.transport + 12] >> 4) * 4;
    let end = p.transport + header;
    let mut at = p.transport + 20;
    for _ in 0..10 {
        if at + 4 > end {
            return;
        }
        match (frame[at], usize::from(frame[at + 1])) {
            (0, _) => return,
            (1, _) => at += 1,
            (2, 4) if be(frame, at + 2) > most => return lower(frame, p, at + 2, most),
            (2, _) => return,
            (_, length) if !(2..=40).contains(&length) => return,
            (_, length) => at += length,
        }
    }
}

fn lower(frame: &mut [u8], p: &Packet, at: usize, value: u16) {
    let was_right = is_right(frame, p);
    // The words that hold the value: one, or two if it lies across.
    let start = at - (at - p.transport) % 2;
    let words: Vec<usize> = (start..at + 2).step_by(2).collect();
    let old: Vec<u16> = words.iter().map(|w| be(frame, *w)).collect();
    set(frame, at, value);
    let changes: Vec<Change> = words.iter().zip(old).map(|(w, old)| (old, be(frame, *w))).collect();
    finish(frame, p, p.transport + 16, was_right, &changes);
}

/// Turns an echo request into its reply.
pub fn echo(frame: &mut [u8], p: &Packet, reply: u8) {
    let was_right = is_right(frame, p);
    addresses(frame, p.net, p.tuple.dst, p.tuple.src);
    let old = be(frame, p.transport);
    frame[p.transport] = reply;
    let changes = [(old, be(frame, p.transport))];
    let swapped = Packet { tuple: p.tuple.reversed(), ..*p };
    finish(frame, &swapped, p.transport + 2, was_right, &changes);
    if be(frame, p.transport + 2) == 0 {
        set(frame, p.transport + 2, 0xffff);
    }
}

/// Gives an ICMP error other outer addresses, and its quote another tuple.
pub fn error(frame: &mut [u8], p: &Packet, q: &Quoted, to: &Tuple, src: IpAddr, dst: IpAddr) {
    let was_right = is_right(frame, p);
    let (before, whole) = (frame.to_vec(), p.end - p.transport);
    let mut inner = addresses(frame, q.net, to.src, to.dst);
    inner.extend(write(frame, q.transport, &[to.src_port.to_be_bytes(), to.dst_port.to_be_bytes()].concat()));
    let udp = q.tuple.protocol == proto::UDP;
    let at = q.transport + if udp { 6 } else { 16 };
    if at + 2 <= p.end && !(udp && be(frame, at) == 0) {
        let check = adjusted(be(frame, at), &inner);
        set(frame, at, if udp && check == 0 { 0xffff } else { check });
    }
    // Everything in the message that is not as it was.
    let words = (0..whole / 2).map(|i| p.transport + 2 * i);
    let mut changes: Vec<Change> =
        words.map(|w| (be(&before, w), be(frame, w))).filter(|(old, new)| old != new).collect();
    let outer = addresses(frame, p.net, src, dst);
    if src.is_ipv6() {
        changes.extend(outer);
    }
    let mut tuple = p.tuple;
    (tuple.src, tuple.dst) = (src, dst);
    finish(frame, &Packet { tuple, ..*p }, p.transport + 2, was_right, &changes);
}

/// The reset that answers a TCP segment (RFC 9293 §3.10.7.1), as a frame of its own.
#[must_use]
pub fn reset(frame: &[u8], p: &Packet) -> Vec<u8> {
    use super::parse::flag::{ACK, FIN, RST, SYN};
    let mut out = frame[..p.transport].to_vec();
    let (to, from) = (frame[..6].try_into().expect("six bytes"), frame[6..12].try_into().expect("six bytes"));
    link(&mut out, to, from);
    addresses(&mut out, p.net, p.tuple.dst, p.tuple.src);
    let length = p.transport - p.net + 20;
    if p.tuple.src.is_ipv4() {
        let changes = write(&mut out, p.net + 2, &(length as u16).to_be_bytes());
        let check = adjusted(be(&out, p.net + 10), &changes);
        set(&mut out, p.net + 10, check);
    } else {
        set(&mut out, p.net + 4, length as u16 - 40);
    }
    let tcp = &frame[p.transport..p.end];
    let number = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().expect("four bytes"));
    let data = tcp.len() - usize::from(tcp[12] >> 4) * 4;
    let control = u32::from(p.flags & SYN != 0) + u32::from(p.flags & FIN != 0);
    let (seq, ack, flags) = if p.flags & ACK != 0 {
        (number(8), 0, RST)
    } else {
        (0, number(4).wrapping_add(data as u32 + control), RST | ACK)
    };
    out.extend(p.tuple.dst_port.to_be_bytes());
    out.extend(p.tuple.src_port.to_be_bytes());
    out.extend(seq.to_be_bytes());
    out.extend(ack.to_be_bytes());
    out.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
    let answer = Packet { tuple: p.tuple.reversed(), end: p.transport + 20, ..*p };
    finish(&mut out, &answer, p.transport + 16, true, &[]);
    out
}
