//! From layers to bytes, by etherparse.

use std::net::IpAddr;

use etherparse::{
    EtherType, Ethernet2Header, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpAuthHeader, IpFragOffset,
    IpNumber, Ipv4Header, Ipv4Options, Ipv6FlowLabel, Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader,
    SingleVlanHeader, TcpHeader, UdpHeader, VlanId,
};

use super::layers::{Body, Edit, Extension, Frame, Icmp, Quote, Tcp, Udp};

impl Frame {
    /// The whole frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let inner = if self.is_v4() { EtherType::IPV4 } else { EtherType::IPV6 };
        let mut types: Vec<EtherType> = self.tags.iter().map(|t| EtherType(t.0)).collect();
        types.push(inner);
        let ethernet = Ethernet2Header { source: self.from, destination: self.to, ether_type: types[0] };
        let mut out = ethernet.to_bytes().to_vec();
        for (tag, next) in self.tags.iter().zip(&types[1..]) {
            let vlan_id = VlanId::try_new(tag.1).expect("a VLAN identifier is below 4096");
            let tag = SingleVlanHeader { vlan_id, ether_type: *next, ..SingleVlanHeader::default() };
            out.extend(tag.to_bytes());
        }
        out.extend(self.encode_ip());
        out.extend(&self.trailer);
        self.wound(&mut out);
        out
    }

    /// The layer-3 packet, unharmed and without trailer.
    #[must_use]
    pub fn encode_ip(&self) -> Vec<u8> {
        let mut out = self.encode_net();
        out.extend(self.encode_body());
        out
    }

    fn encode_net(&self) -> Vec<u8> {
        match (self.ip.src, self.ip.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.encode_v4(src.octets(), dst.octets()),
            (IpAddr::V6(src), IpAddr::V6(dst)) => self.encode_v6(src.octets(), dst.octets()),
            _ => panic!("addresses of two families"),
        }
    }

    fn protocol(&self) -> IpNumber {
        match &self.body {
            Body::Tcp(_) => IpNumber::TCP,
            Body::Udp(_) => IpNumber::UDP,
            Body::Icmp(_) if self.is_v4() => IpNumber::ICMP,
            Body::Icmp(_) => IpNumber::IPV6_ICMP,
            Body::Raw(n, _) => IpNumber(*n),
        }
    }

    fn encode_v4(&self, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let ip = &self.ip;
        let (offset, more) = ip.fragment.unwrap_or_default();
        let body = self.encode_body().len();
        let mut header = Ipv4Header {
            dscp: (ip.tos >> 2).try_into().expect("six bits"),
            ecn: (ip.tos & 3).try_into().expect("two bits"),
            identification: ip.id,
            dont_fragment: ip.fragment.is_none(),
            more_fragments: more,
            fragment_offset: IpFragOffset::try_new(offset).expect("thirteen bits"),
            time_to_live: ip.ttl,
            protocol: self.protocol(),
            source,
            destination,
            options: Ipv4Options::try_from(&ip.options[..]).expect("options in words of four bytes"),
            ..Ipv4Header::default()
        };
        header.set_payload_len(body).expect("a packet of ordinary size");
        header.header_checksum = header.calc_header_checksum();
        header.to_bytes().to_vec()
    }

    fn encode_v6(&self, source: [u8; 16], destination: [u8; 16]) -> Vec<u8> {
        let ip = &self.ip;
        let mut numbers: Vec<u8> = ip
            .extensions
            .iter()
            .map(|e| match e {
                Extension::Plain(n, _) => *n,
                Extension::Auth => IpNumber::AUTHENTICATION_HEADER.0,
            })
            .collect();
        numbers.extend(ip.fragment.map(|_| IpNumber::IPV6_FRAGMENTATION_HEADER.0));
        numbers.push(self.protocol().0);
        let mut chain = Vec::new();
        for (e, next) in ip.extensions.iter().zip(&numbers[1..]) {
            chain.extend(encode_extension(e, IpNumber(*next)));
        }
        if let Some((offset, more)) = ip.fragment {
            let offset = IpFragOffset::try_new(offset).expect("thirteen bits");
            let header = Ipv6FragmentHeader::new(self.protocol(), offset, more, u32::from(ip.id));
            chain.extend(header.to_bytes());
        }
        let header = Ipv6Header {
            traffic_class: ip.tos,
            flow_label: Ipv6FlowLabel::try_new(0x0beef).expect("twenty bits"),
            payload_length: u16::try_from(chain.len() + self.encode_body().len()).expect("an ordinary size"),
            next_header: IpNumber(numbers[0]),
            hop_limit: ip.ttl,
            source,
            destination,
        };
        let mut out = header.to_bytes().to_vec();
        out.extend(chain);
        out
    }

    fn encode_body(&self) -> Vec<u8> {
        match &self.body {
            Body::Tcp(t) => self.encode_tcp(t),
            Body::Udp(u) => self.encode_udp(u),
            Body::Icmp(i) => self.encode_icmp(i),
            Body::Raw(_, bytes) => bytes.clone(),
        }
    }

    fn encode_tcp(&self, t: &Tcp) -> Vec<u8> {
        let f = t.flags;
        let mut header = TcpHeader {
            acknowledgment_number: t.ack,
            syn: f.syn,
            ack: f.ack,
            fin: f.fin,
            rst: f.rst,
            psh: f.psh,
            urg: f.urg,
            ..TcpHeader::new(t.src_port, t.dst_port, t.seq, t.window)
        };
        header.set_options_raw(&t.options).expect("at most 40 bytes of options");
        let sum = match (self.ip.src, self.ip.dst) {
            (IpAddr::V4(s), IpAddr::V4(d)) => header.calc_checksum_ipv4_raw(s.octets(), d.octets(), &t.payload),
            (IpAddr::V6(s), IpAddr::V6(d)) => header.calc_checksum_ipv6_raw(s.octets(), d.octets(), &t.payload),
            _ => panic!("addresses of two families"),
        };
        header.checksum = sum.expect("an ordinary size");
        [header.to_bytes().as_slice(), &t.payload].concat()
    }

    fn encode_udp(&self, u: &Udp) -> Vec<u8> {
        let length = u16::try_from(8 + u.payload.len()).expect("an ordinary size");
        let mut header = UdpHeader { source_port: u.src_port, destination_port: u.dst_port, length, checksum: 0 };
        let sum = match (self.ip.src, self.ip.dst) {
            (IpAddr::V4(s), IpAddr::V4(d)) => header.calc_checksum_ipv4_raw(s.octets(), d.octets(), &u.payload),
            (IpAddr::V6(s), IpAddr::V6(d)) => header.calc_checksum_ipv6_raw(s.octets(), d.octets(), &u.payload),
            _ => panic!("addresses of two families"),
        };
        header.checksum = if u.unsummed { 0 } else { sum.expect("an ordinary size") };
        [header.to_bytes().as_slice(), &u.payload].concat()
    }

    fn encode_icmp(&self, i: &Icmp) -> Vec<u8> {
        let payload = match &i.payload {
            Quote::Bytes(b) => b.clone(),
            Quote::Packet(frame, most) => {
                let mut quoted = frame.encode_ip();
                quoted.truncate(*most);
                quoted
            }
        };
        let (type_u8, code_u8, bytes5to8) = (i.kind, i.code, i.word.to_be_bytes());
        let header = match (self.ip.src, self.ip.dst) {
            (IpAddr::V6(s), IpAddr::V6(d)) => {
                let kind = Icmpv6Type::Unknown { type_u8, code_u8, bytes5to8 };
                let header = Icmpv6Header::with_checksum(kind, s.octets(), d.octets(), &payload);
                header.expect("an ordinary size").to_bytes().to_vec()
            }
            _ => {
                let kind = Icmpv4Type::Unknown { type_u8, code_u8, bytes5to8 };
                Icmpv4Header::with_checksum(kind, &payload).to_bytes().to_vec()
            }
        };
        [header, payload].concat()
    }

    /// Where the layer-4 header starts.
    #[must_use]
    pub fn transport_at(&self) -> usize {
        self.link_len() + self.encode_net().len()
    }

    fn wound(&self, out: &mut Vec<u8>) {
        let (net, transport) = (self.link_len(), self.transport_at());
        for e in &self.edits {
            let (at, bytes) = match e {
                Edit::Cut(n) => {
                    out.truncate(*n);
                    continue;
                }
                Edit::Link(at, b) => (*at, b),
                Edit::Net(at, b) => (net + at, b),
                Edit::Transport(at, b) => (transport + at, b),
            };
            out[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }
}

fn encode_extension(e: &Extension, next: IpNumber) -> Vec<u8> {
    match e {
        Extension::Plain(_, content) => {
            Ipv6RawExtHeader::new_raw(next, content).expect("6 + 8n bytes").to_bytes().to_vec()
        }
        Extension::Auth => IpAuthHeader::new(next, 0x77, 1, &[0xaa; 12]).expect("12 bytes").to_bytes().to_vec(),
    }
}
