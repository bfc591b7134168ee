//! IP headers that contradict themselves, options, fragments, extension headers and protocols.

use lb_common::reason::Reason;
use lb_tests::packet::case::{drop, pass};
use lb_tests::packet::cast::{FAMILIES, Family};
use lb_tests::packet::layers::{Edit, Extension, Frame};

use super::{DSR_PORT, NAT_PORT, Odd, PORT, TCP_DSR, UDP_DSR, carried, odd};

pub(crate) fn kinds() -> Vec<Odd> {
    [lengths4(), lengths6(), fragments(), protocols(), chains(), addresses()].into_iter().flatten().collect()
}

fn syn(family: Family) -> Frame {
    family.to_vip().tcp(PORT, NAT_PORT, "S").payload(b"data")
}

fn lengths4() -> Vec<Odd> {
    let f = Family::V4;
    let net = |at: usize, bytes: &[u8]| syn(f).edit(Edit::Net(at, bytes.to_vec()));
    let broken = || drop(0, Reason::Malformed);
    vec![
        odd("IPv4 of version 5", f, net(0, &[0x55]), broken()),
        odd("IPv4 of version 6", f, net(0, &[0x65]), broken()),
        odd("IPv4 header of no words", f, net(0, &[0x40]), broken()),
        odd("IPv4 header of 4 words", f, net(0, &[0x44]), broken()),
        odd("IPv4 header longer than the packet", f, net(0, &[0x4f]), broken()),
        odd("IPv4 header that swallows the TCP header", f, net(0, &[0x4a]), broken()),
        odd("IPv4 total length 0", f, net(2, &[0, 0]), broken()),
        odd("IPv4 total length below its header", f, net(2, &[0, 19]), broken()),
        odd("IPv4 total length of the header alone", f, net(2, &[0, 20]), broken()),
        odd("IPv4 total length that ends in the ports", f, net(2, &[0, 23]), broken()),
        odd("IPv4 total length a byte short of TCP", f, net(2, &[0, 39]), broken()),
        odd("IPv4 total length a byte too large", f, net(2, &[0, 45]), broken()),
        odd("IPv4 total length of 65535", f, net(2, &[0xff, 0xff]), broken()),
        odd("IPv4 evil bit", f, evil(), carried(TCP_DSR, &evil())),
    ]
}

/// The reserved flag (RFC 3514, of an April 1st), with a checksum to match.
fn evil() -> Frame {
    let good = Family::V4.to_vip().tcp(PORT, DSR_PORT, "S");
    let sum = u16::from_be_bytes([good.encode()[24], good.encode()[25]]);
    let sum = !lb_tests::packet::sums::folded(u64::from(!sum) + 0x8000);
    good.edit(Edit::Net(6, vec![0xc0, 0])).edit(Edit::Net(10, sum.to_be_bytes().to_vec()))
}

fn lengths6() -> Vec<Odd> {
    let f = Family::V6;
    let net = |at: usize, bytes: &[u8]| syn(f).edit(Edit::Net(at, bytes.to_vec()));
    let broken = || drop(0, Reason::Malformed);
    let jumbo = syn(f).extension(Extension::Plain(0, vec![0xc2, 4, 0, 1, 0, 0])).edit(Edit::Net(4, vec![0, 0]));
    vec![
        odd("IPv6 of version 4", f, net(0, &[0x45]), broken()),
        odd("IPv6 of version 15", f, net(0, &[0xf0]), broken()),
        odd("IPv6 payload length 0", f, net(4, &[0, 0]), broken()),
        odd("IPv6 payload length a byte short of TCP", f, net(4, &[0, 19]), broken()),
        odd("IPv6 payload length a byte too large", f, net(4, &[0, 25]), broken()),
        odd("IPv6 payload length of 65535", f, net(4, &[0xff, 0xff]), broken()),
        odd("IPv6 jumbogram", f, jumbo, broken()),
    ]
}

fn fragments() -> Vec<Odd> {
    let mut out = Vec::new();
    for f in FAMILIES {
        let dropped = || drop(0, Reason::Fragment);
        out.push(odd("first fragment", f, syn(f).fragment(0, true), dropped()));
        out.push(odd("middle fragment", f, syn(f).fragment(185, true), dropped()));
        out.push(odd("last fragment", f, syn(f).fragment(370, false), dropped()));
        let tiny = f.to_vip().raw(6, &[0x9c, 0x40, 0, 80, 0, 0, 0, 0]).fragment(0, true);
        out.push(odd("tiny first fragment", f, tiny, dropped()));
        let udp = f.to_vip().udp(PORT, NAT_PORT, &[9; 64]).fragment(0, true);
        out.push(odd("first fragment of UDP", f, udp, dropped()));
        let icmp = f.to_vip().icmp(
            if f == Family::V4 { 8 } else { 128 },
            0,
            1,
            lb_tests::packet::layers::Quote::Bytes(vec![0; 64]),
        );
        out.push(odd("fragment of an echo request", f, icmp.fragment(0, true), dropped()));
        let elsewhere = syn(f).between(f.client(1), f.stranger()).fragment(0, true);
        out.push(odd("fragment to another address", f, elsewhere, pass(Reason::NotOurs)));
        let answer = f.to_snat(1).udp(NAT_PORT, 20_000, &[0; 64]).fragment(0, true);
        out.push(odd("fragment from a backend", f, answer, pass(Reason::NotOurs)));
    }
    let atomic = syn(Family::V6).fragment(0, false);
    out.push(odd("IPv6 fragment header on a whole packet", Family::V6, atomic, drop(0, Reason::Fragment)));
    let behind = syn(Family::V6).extension(Extension::Plain(60, vec![1, 4, 0, 0, 0, 0])).fragment(0, true);
    out.push(odd("IPv6 fragment header behind another", Family::V6, behind, drop(0, Reason::Fragment)));
    out
}

fn protocols() -> Vec<Odd> {
    let mut out = Vec::new();
    let names = [
        (2, "IGMP"),
        (4, "IPv4 in IP"),
        (41, "IPv6 in IP"),
        (47, "GRE"),
        (50, "ESP"),
        (89, "OSPF"),
        (94, "IPIP of 1990"),
        (103, "PIM"),
        (112, "VRRP"),
        (132, "SCTP"),
        (136, "UDP-Lite"),
        (137, "MPLS in IP"),
        (253, "a protocol for experiments"),
        (255, "protocol 255"),
    ];
    for f in FAMILIES {
        for (number, name) in names {
            out.push(odd(name, f, f.to_vip().raw(number, &[0x45; 40]), drop(0, Reason::Unsupported)));
        }
        let (other, name) = if f == Family::V4 { (58, "ICMPv6 over IPv4") } else { (1, "ICMP over IPv6") };
        out.push(odd(name, f, f.to_vip().raw(other, &[8, 0, 0, 0, 0, 0, 0, 0]), drop(0, Reason::Unsupported)));
        let bare = f.to_vip().raw(253, &[]);
        out.push(odd("an unknown protocol without a byte", f, bare, drop(0, Reason::Unsupported)));
        let elsewhere = f.to_vip().between(f.client(1), f.stranger()).raw(132, &[0; 12]);
        out.push(odd("SCTP to another address", f, elsewhere, pass(Reason::NotOurs)));
    }
    for (number, name) in [
        (0, "IPv4 protocol 0"),
        (43, "a routing header in IPv4"),
        (51, "AH in IPv4"),
        (60, "destination options in IPv4"),
    ] {
        let frame = Family::V4.to_vip().raw(number, &[0; 40]);
        out.push(odd(name, Family::V4, frame, drop(0, Reason::Unsupported)));
    }
    out
}

fn chains() -> Vec<Odd> {
    let f = Family::V6;
    let pad = || Extension::Plain(60, vec![1, 4, 0, 0, 0, 0]);
    let chain = |n: usize| (0..n).fold(f.to_vip().tcp(PORT, DSR_PORT, "S"), |frame, _| frame.extension(pad()));
    let unsupported = || drop(0, Reason::Unsupported);
    let broken = || drop(0, Reason::Malformed);
    let hop = || syn(f).extension(Extension::Plain(0, vec![1, 4, 0, 0, 0, 0]));
    let long = f.to_vip().tcp(PORT, DSR_PORT, "S").extension(Extension::Plain(60, vec![0; 6 + 64 * 8]));
    let segments = f.to_vip().tcp(PORT, DSR_PORT, "S").extension(Extension::Plain(43, vec![4, 1, 0, 0, 0, 0]));
    let late = chain(2).extension(Extension::Plain(0, vec![1, 4, 0, 0, 0, 0]));
    let mut out = vec![
        odd("six extension headers", f, chain(6), carried(TCP_DSR, &chain(6))),
        odd("seven extension headers", f, chain(7), unsupported()),
        odd("twelve extension headers", f, chain(12), unsupported()),
        odd("an extension header of 520 bytes", f, long, unsupported()),
        odd("hop-by-hop that is not first", f, late.clone(), carried(TCP_DSR, &late)),
        odd("routing with segments left", f, segments, unsupported()),
        odd("no next header", f, f.to_vip().raw(59, &[]), unsupported()),
        odd("no next header, yet bytes", f, f.to_vip().raw(59, &[0; 32]), unsupported()),
        odd("no next header behind another", f, f.to_vip().raw(59, &[]).extension(pad()), unsupported()),
        odd("an extension header beyond the packet", f, hop().edit(Edit::Net(41, vec![200])), broken()),
        odd("an extension header that swallows TCP", f, hop().edit(Edit::Net(41, vec![3])), broken()),
        odd(
            "an extension header cut off",
            f,
            hop().edit(Edit::Net(4, vec![0, 7])).edit(Edit::Cut(14 + 40 + 7)),
            broken(),
        ),
        odd(
            "an extension header without a byte",
            f,
            hop().edit(Edit::Net(4, vec![0, 0])).edit(Edit::Cut(14 + 40)),
            broken(),
        ),
        odd(
            "authentication beyond the packet",
            f,
            syn(f).extension(Extension::Auth).edit(Edit::Net(41, vec![100])),
            broken(),
        ),
        odd("ESP behind destination options", f, f.to_vip().raw(50, &[0; 24]).extension(pad()), unsupported()),
    ];
    for (number, name) in [(135, "mobility"), (139, "HIP"), (140, "shim6"), (253, "an experimental extension")] {
        let frame = syn(f).extension(Extension::Plain(number, vec![0; 6]));
        out.push(odd(format!("the {name} header"), f, frame, unsupported()));
    }
    out
}

fn addresses() -> Vec<Odd> {
    let mut out = Vec::new();
    let parse = |f: Family, v4: &str, v6: &str| if f == Family::V4 { v4 } else { v6 }.parse().expect("an address");
    for f in FAMILIES {
        let to = |v4: &str, v6: &str| syn(f).between(f.client(1), parse(f, v4, v6));
        let ours = || pass(Reason::NotOurs);
        out.push(odd("to a multicast group", f, to("224.0.0.18", "ff02::12"), ours()));
        out.push(odd("to all hosts", f, to("255.255.255.255", "ff02::1"), ours()));
        out.push(odd("to loopback", f, to("127.0.0.1", "::1"), ours()));
        out.push(odd("to no address", f, to("0.0.0.0", "::"), ours()));
        let from = |v4: &str, v6: &str| f.to_vip().between(parse(f, v4, v6), f.vip()).udp(PORT, DSR_PORT, b"x");
        let mut carry = |kind: &str, frame: Frame| {
            let expect = carried(UDP_DSR, &frame);
            out.push(odd(kind, f, frame, expect));
        };
        carry("from no address", from("0.0.0.0", "::"));
        carry("from loopback", from("127.0.0.1", "::1"));
        carry("from a multicast group", from("224.0.0.1", "ff02::1"));
        carry("from the VIP itself", f.to_vip().between(f.vip(), f.vip()).udp(DSR_PORT, DSR_PORT, b"x"));
        carry("time to live 0", from("198.51.100.1", "2001:db8::1:1").ttl(0));
    }
    // An IPv4-mapped address on the wire is none of IPv4's.
    let mapped = Family::V6
        .to_vip()
        .between("2001:db8::5".parse().expect("an address"), "::ffff:192.0.2.10".parse().expect("an address"));
    out.push(odd(
        "to the VIP's mapped form over IPv6",
        Family::V6,
        mapped.tcp(PORT, NAT_PORT, "S"),
        pass(Reason::NotOurs),
    ));
    out
}
