//! Frames that are not IP, or hide it: other EtherTypes, stacked tags, wrong labels.

use lb_common::reason::Reason;
use lb_tests::packet::case::pass;
use lb_tests::packet::cast::{FAMILIES, Family};
use lb_tests::packet::layers::{Edit, Frame};

use super::{DSR_PORT, NAT_PORT, Odd, PORT, TCP_DSR, carried, odd};

pub(crate) fn kinds() -> Vec<Odd> {
    let mut out = Vec::new();
    for f in FAMILIES {
        let syn = || f.to_vip().tcp(PORT, NAT_PORT, "S");
        let ours = || pass(Reason::NotOurs);
        let labelled = |ethertype: u16| syn().edit(Edit::Link(12, ethertype.to_be_bytes().to_vec()));
        for (ethertype, name) in [
            (0x0000, "EtherType 0"),
            (0x0026, "an 802.3 length instead of an EtherType"),
            (0x0806, "ARP"),
            (0x0842, "wake on LAN"),
            (0x22f3, "TRILL"),
            (0x8035, "reverse ARP"),
            (0x8847, "MPLS"),
            (0x8863, "PPPoE discovery"),
            (0x8864, "PPPoE session"),
            (0x888e, "802.1X"),
            (0x88cc, "LLDP"),
            (0x88e5, "MACsec"),
            (0x88f7, "PTP"),
            (0x9000, "Ethernet loopback"),
            (0x9100, "the tag of old QinQ"),
            (0xffff, "EtherType 0xffff"),
        ] {
            out.push(odd(name, f, labelled(ethertype), ours()));
        }
        let wrong = if f == Family::V4 { 0x86dd } else { 0x0800 };
        out.push(odd("the other family's EtherType", f, labelled(wrong), ours()));
        out.push(odd("a bare Ethernet header", f, syn().edit(Edit::Cut(14)), ours()));
        out.push(odd("three tags", f, syn().vlan(1).vlan(2).vlan(3), ours()));
        out.push(odd("three service tags", f, syn().service_vlan(1).service_vlan(2).service_vlan(3), ours()));
        let tagged = |ethertype: u16| syn().vlan(5).edit(Edit::Link(16, ethertype.to_be_bytes().to_vec()));
        out.push(odd("ARP in a tag", f, tagged(0x0806), ours()));
        out.push(odd("MPLS in a tag", f, tagged(0x8847), ours()));

        let dsr = || f.to_vip().tcp(PORT, DSR_PORT, "S");
        let mut carry = |kind: &str, frame: Frame| {
            let expect = carried(TCP_DSR, &frame);
            out.push(odd(kind, f, frame, expect));
        };
        carry("a priority tag", dsr().vlan(0).edit(Edit::Link(14, vec![0xe0, 0])));
        carry("the reserved VLAN 4095", dsr().vlan(4095));
        carry("a service tag inside a customer tag", dsr().vlan(1).service_vlan(2));
        carry("to a multicast MAC", dsr().link([2, 0, 0, 0, 0, 9], [1, 0, 0x5e, 0, 0, 1]));
        carry("to the broadcast MAC", dsr().link([2, 0, 0, 0, 0, 9], [0xff; 6]));
        carry("a frame as long as a test run takes", dsr().payload(&[0x5a; 3300]));
    }
    out
}
