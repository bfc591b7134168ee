//! TCP, UDP and ICMP headers that make no sense, or make too much of it.

use lb_common::reason::Reason;
use lb_tests::packet::case::{drop, pass};
use lb_tests::packet::cast::{FAMILIES, Family};
use lb_tests::packet::layers::{Edit, Frame, Quote};

use super::{DSR_PORT, NAT_PORT, Odd, PORT, TCP_DSR, TCP_NAT, UDP_DSR, carried, odd};

pub(crate) fn kinds() -> Vec<Odd> {
    FAMILIES
        .into_iter()
        .flat_map(|f| [tcp_lengths(f), tcp_flags(f), udp(f), icmp(f), quotes(f)].into_iter().flatten())
        .collect()
}

fn tcp_lengths(f: Family) -> Vec<Odd> {
    let syn = |offset: u8| {
        let frame = f.to_vip().tcp(PORT, NAT_PORT, "S").payload(&[0; 8]);
        frame.edit(Edit::Transport(12, vec![offset << 4]))
    };
    let broken = || drop(0, Reason::Malformed);
    let sum = f.to_vip().tcp(PORT, DSR_PORT, "S").edit(Edit::Transport(16, vec![0, 0]));
    let zero = f.to_vip().tcp(0, DSR_PORT, "S");
    let options = f.to_vip().tcp(PORT, DSR_PORT, "S").tcp_options(&[2, 0, 0, 0, 3, 1, 0, 0]);
    vec![
        odd("TCP data offset 0", f, syn(0), broken()),
        odd("TCP data offset 4", f, syn(4), broken()),
        odd("TCP data offset beyond the packet", f, syn(8), broken()),
        odd("TCP data offset 15", f, syn(15), broken()),
        odd("TCP checksum 0", f, sum.clone(), carried(TCP_DSR, &sum)),
        odd("TCP from port 0", f, zero.clone(), carried(TCP_DSR, &zero)),
        odd("TCP options that lie about their length", f, options.clone(), carried(TCP_DSR, &options)),
    ]
}

fn tcp_flags(f: Family) -> Vec<Odd> {
    let nat = |letters: &str| f.to_vip().tcp(PORT, NAT_PORT, letters);
    let unknown = || drop(TCP_NAT, Reason::NoFlow);
    let all = nat("").edit(Edit::Transport(13, vec![0xff]));
    let data = f.to_vip().tcp(PORT, DSR_PORT, "S").payload(b"data in the SYN");
    let ecn = f.to_vip().tcp(PORT, DSR_PORT, "S").edit(Edit::Transport(13, vec![0xc2]));
    vec![
        odd("TCP without flags", f, nat(""), unknown()),
        odd("TCP with all flags", f, all, unknown()),
        odd("TCP with FIN, PSH, URG", f, nat("FPU"), unknown()),
        odd("SYN and FIN", f, nat("SF"), unknown()),
        odd("SYN and RST", f, nat("SR"), unknown()),
        odd("SYN and ACK of no flow", f, nat("SA"), unknown()),
        odd("FIN of no flow", f, nat("F"), unknown()),
        odd("ACK of no flow", f, nat("A"), unknown()),
        odd("RST of no flow", f, nat("R"), unknown()),
        odd("RST of no flow, DSR", f, f.to_vip().tcp(PORT, DSR_PORT, "RA"), drop(TCP_DSR, Reason::NoFlow)),
        odd("SYN with data", f, data.clone(), carried(TCP_DSR, &data)),
        odd("SYN with ECN", f, ecn.clone(), carried(TCP_DSR, &ecn)),
    ]
}

fn udp(f: Family) -> Vec<Odd> {
    let length = |n: u16| f.to_vip().udp(PORT, NAT_PORT, b"data").edit(Edit::Transport(4, n.to_be_bytes().to_vec()));
    let broken = || drop(0, Reason::Malformed);
    let short = f.to_vip().udp(PORT, DSR_PORT, b"data").edit(Edit::Transport(4, vec![0, 10]));
    let zero = f.to_vip().udp(0, DSR_PORT, b"data");
    let mut out = vec![
        odd("UDP length 0", f, length(0), broken()),
        odd("UDP length 7", f, length(7), broken()),
        odd("UDP length a byte too large", f, length(13), broken()),
        odd("UDP length 65535", f, length(65_535), broken()),
        odd("UDP shorter than its packet", f, short.clone(), carried(UDP_DSR, &short)),
        odd("UDP from port 0", f, zero.clone(), carried(UDP_DSR, &zero)),
        odd("UDP to port 0", f, f.to_vip().udp(PORT, 0, b"data"), pass(Reason::NotOurs)),
    ];
    let unsummed = f.to_vip().udp(PORT, DSR_PORT, b"data").unsummed();
    let expect = if f == Family::V6 { drop(0, Reason::Malformed) } else { carried(UDP_DSR, &unsummed) };
    out.push(odd("UDP without a checksum", f, unsummed, expect));
    out
}

fn icmp(f: Family) -> Vec<Odd> {
    let ours = || pass(Reason::NotOurs);
    let of = |kind: u8, code: u8| f.to_vip().icmp(kind, code, 0, Quote::Bytes(vec![0; 24]));
    let kinds: &[(u8, &str)] = match f {
        Family::V4 => &[
            (5, "a redirect"),
            (9, "a router advertisement"),
            (13, "a timestamp request"),
            (15, "an information request"),
            (17, "an address mask request"),
            (42, "an extended echo request"),
            (200, "an unassigned ICMP type"),
        ],
        Family::V6 => &[
            (130, "a listener query"),
            (133, "a router solicitation"),
            (134, "a router advertisement"),
            (135, "a neighbour solicitation"),
            (136, "a neighbour advertisement"),
            (137, "a redirect"),
            (200, "an unassigned ICMP type"),
            (100, "a private error"),
        ],
    };
    let mut out: Vec<Odd> = kinds.iter().map(|(kind, name)| odd(*name, f, of(*kind, 0), ours())).collect();
    let protocol = f.icmp();
    for n in [0, 4, 7] {
        let frame = f.to_vip().raw(protocol, &[8, 0, 0, 0, 0, 0, 0][..n]);
        out.push(odd(format!("ICMP of {n} bytes"), f, frame, drop(0, Reason::Malformed)));
    }
    out
}

/// Errors whose quote is not of a flow, or not a packet.
fn quotes(f: Family) -> Vec<Odd> {
    let (unreachable, code) = if f == Family::V4 { (3, 3) } else { (1, 4) };
    let unknown = || pass(Reason::UnknownQuote);
    let about = |inner: Frame, cut: usize| {
        f.to_vip().between(f.reporter(), f.vip()).icmp(unreachable, code, 0, Quote::Packet(Box::new(inner), cut))
    };
    let seen = || f.to_vip().between(f.vip(), f.client(1));
    let header = if f == Family::V4 { 20 } else { 40 };
    let garbage = f.to_vip().icmp(unreachable, code, 0, Quote::Bytes(vec![0xff; 64]));
    let other_family = if f == Family::V4 { Family::V6 } else { Family::V4 };
    let other = other_family.to_vip().between(other_family.vip(), other_family.client(1)).tcp(DSR_PORT, PORT, "A");
    vec![
        odd("an error about an unknown TCP flow", f, about(seen().tcp(NAT_PORT, PORT, "A"), 100), unknown()),
        odd("an error about an unknown UDP flow", f, about(seen().udp(NAT_PORT, PORT, b"x"), 100), unknown()),
        odd(
            "an error about an echo reply",
            f,
            about(seen().icmp(if f == Family::V4 { 0 } else { 129 }, 0, 1, Quote::Bytes(vec![])), 100),
            unknown(),
        ),
        odd(
            "an error about a later fragment",
            f,
            about(seen().udp(NAT_PORT, PORT, b"x").fragment(10, false), 100),
            unknown(),
        ),
        odd("an error about SCTP", f, about(seen().raw(132, &[0; 12]), 100), unknown()),
        odd("an error about a protocol cut off", f, about(seen().raw(132, &[]), 100), unknown()),
        odd("an error that quotes nothing", f, about(seen().tcp(NAT_PORT, PORT, "A"), 0), unknown()),
        odd("an error that quotes half an IP header", f, about(seen().tcp(NAT_PORT, PORT, "A"), header / 2), unknown()),
        odd("an error that quotes an IP header alone", f, about(seen().tcp(NAT_PORT, PORT, "A"), header), unknown()),
        odd("an error that quotes four bytes of TCP", f, about(seen().tcp(NAT_PORT, PORT, "A"), header + 4), unknown()),
        odd("an error that quotes rubbish", f, garbage, unknown()),
        odd("an error that quotes the other family", f, about(other, 100), unknown()),
        odd(
            "an error to another address",
            f,
            about(seen().tcp(NAT_PORT, PORT, "A"), 100).between(f.reporter(), f.stranger()),
            pass(Reason::NotOurs),
        ),
    ]
}
