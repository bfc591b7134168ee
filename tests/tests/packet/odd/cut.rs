//! Frames cut off at and inside every header.

use lb_common::reason::Reason;
use lb_tests::packet::case::{Expect, drop, pass};
use lb_tests::packet::cast::{FAMILIES, Family};
use lb_tests::packet::layers::{Edit, Frame, Quote};

use super::{NAT_PORT, Odd, PORT, odd};

pub(crate) fn kinds() -> Vec<Odd> {
    let mut out = Vec::new();
    for family in FAMILIES {
        let tcp = family.to_vip().tcp(PORT, NAT_PORT, "S").payload(b"data");
        let udp = family.to_vip().udp(PORT, NAT_PORT, b"data");
        let icmp = family.to_vip().icmp(if family == Family::V4 { 8 } else { 128 }, 0, 1, Quote::Bytes(vec![1; 4]));
        for (name, frame, header) in [("TCP", tcp, 20), ("UDP", udp, 8), ("ICMP", icmp, 8)] {
            for tags in 0..3 {
                let frame = (0..tags).fold(frame.clone(), |f, t| f.vlan(t + 1));
                out.extend(cuts(family, name, &frame, header));
            }
        }
        let options = family.to_vip().tcp(PORT, NAT_PORT, "S").tcp_options(&[2, 4, 5, 0xb4]);
        let at = options.transport_at() + 22;
        out.push(cut(family, "TCP cut in its options", &options, at, drop(0, Reason::Malformed)));
    }
    out
}

fn cut(family: Family, kind: &str, frame: &Frame, at: usize, expect: Expect) -> Odd {
    odd(kind, family, frame.clone().edit(Edit::Cut(at)), expect)
}

fn cuts(family: Family, name: &str, frame: &Frame, header: usize) -> Vec<Odd> {
    let (net, transport) = (frame.link_len(), frame.transport_at());
    let tagged = if frame.tags.is_empty() { String::new() } else { format!(", {} tags", frame.tags.len()) };
    let named = |what: &str| format!("{name}{tagged} cut {what}");
    // The destination cannot be read, so it cannot be ours.
    let unseen = || pass(Reason::NotOurs);
    let broken = || drop(0, Reason::Malformed);
    let mut out = vec![
        cut(family, &named("after the link header"), frame, net, unseen()),
        cut(family, &named("in the IP header"), frame, net + 12, unseen()),
        cut(family, &named("a byte short of the IP header"), frame, transport - 1, unseen()),
        cut(family, &named("after the IP header"), frame, transport, broken()),
        cut(family, &named("after the ports"), frame, transport + 4, broken()),
        cut(family, &named("a byte short of its header"), frame, transport + header - 1, broken()),
        cut(family, &named("after its header"), frame, transport + header, broken()),
        cut(family, &named("a byte short"), frame, transport + header + 3, broken()),
    ];
    for i in 0..frame.tags.len() {
        let at = 14 + 4 * i;
        out.push(cut(family, &named(&format!("before tag {}", i + 1)), frame, at, unseen()));
        out.push(cut(family, &named(&format!("in tag {}", i + 1)), frame, at + 2, unseen()));
    }
    out
}
