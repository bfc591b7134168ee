//! From bytes to lines that one can read and diff.

use std::fmt::Write as _;

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};

/// A frame as a few lines: what its layers say, then its bytes.
#[must_use]
pub fn render(frame: &[u8]) -> String {
    let mut out = format!("{} bytes", frame.len());
    if frame.len() >= 14 {
        let _ = write!(
            out,
            "\n  ethernet {} > {} type {:02x}{:02x}",
            mac(&frame[6..12]),
            mac(&frame[..6]),
            frame[12],
            frame[13]
        );
    }
    match LaxSlicedPacket::from_ethernet(frame) {
        Ok(sliced) => layers(&sliced, &mut out),
        Err(e) => out.push_str(&format!("\n  {e}")),
    }
    if let Err(e) = super::sums::verify(frame) {
        let _ = write!(out, "\n  {e}");
    }
    for (i, line) in frame.chunks(16).enumerate() {
        let _ = write!(out, "\n  {:04x} ", i * 16);
        line.iter().for_each(|b| out.push_str(&format!(" {b:02x}")));
    }
    out
}

fn layers(sliced: &LaxSlicedPacket<'_>, out: &mut String) {
    for tag in sliced.vlan_ids() {
        let _ = write!(out, "\n  vlan {}", tag.value());
    }
    match &sliced.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let h = ip.header();
            let (src, dst) = (h.source_addr(), h.destination_addr());
            let _ = write!(
                out,
                "\n  ipv4 {src} > {dst} ttl {} length {} protocol {}",
                h.ttl(),
                h.total_len(),
                h.protocol().0
            );
            if h.is_fragmenting_payload() {
                let _ = write!(out, " fragment {}", h.fragments_offset().value());
            }
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let h = ip.header();
            let (src, dst) = (h.source_addr(), h.destination_addr());
            let _ = write!(
                out,
                "\n  ipv6 {src} > {dst} hops {} length {} next {}",
                h.hop_limit(),
                h.payload_length(),
                h.next_header().0
            );
        }
        _ => {}
    }
    match &sliced.transport {
        Some(TransportSlice::Tcp(t)) => {
            let flags = [("S", t.syn()), ("A", t.ack()), ("F", t.fin()), ("R", t.rst()), ("P", t.psh())];
            let flags: String = flags.iter().filter(|f| f.1).map(|f| f.0).collect();
            let (s, d) = (t.source_port(), t.destination_port());
            let (seq, ack) = (t.sequence_number(), t.acknowledgment_number());
            let _ = write!(out, "\n  tcp {s} > {d} {flags} seq {seq} ack {ack} payload {}", t.payload().len());
        }
        Some(TransportSlice::Udp(u)) => {
            let _ = write!(out, "\n  udp {} > {} length {}", u.source_port(), u.destination_port(), u.length());
        }
        Some(TransportSlice::Icmpv4(i)) => out.push_str(&format!("\n  icmp type {} code {}", i.type_u8(), i.code_u8())),
        Some(TransportSlice::Icmpv6(i)) => {
            out.push_str(&format!("\n  icmpv6 type {} code {}", i.type_u8(), i.code_u8()))
        }
        _ => {}
    }
    if let Some((e, _)) = &sliced.stop_err {
        let _ = write!(out, "\n  {e}");
    }
}

fn mac(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")
}
