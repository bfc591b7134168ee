//! The packets that are measured with, written by another encoder than ours.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, bail};
use etherparse::PacketBuilder;
use lb_common::bench::{TEMPLATE_BYTES, Template};
use lb_common::net::proto;
use lb_common::service::forward;

use super::world;
use super::{Case, Flows};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const fn digit(self) -> char {
        match self {
            Self::V4 => '4',
            Self::V6 => '6',
        }
    }
    /// Frames are 64 bytes; IPv6's headers need more.
    const fn frame(self) -> usize {
        match self {
            Self::V4 => 64,
            Self::V6 => 80,
        }
    }
}

/// Which packet of a flow. UDP has but one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// TCP: a SYN.
    Opening,
    /// TCP: an ACK.
    Established,
    /// TCP: the backend's SYN-ACK.
    Answer,
}

const ETHERNET: usize = 14;
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// One end of a packet.
pub(crate) type End = (IpAddr, u16);

/// The template of a case's packets.
pub(crate) fn of(case: &Case, stage: Stage) -> Result<Template> {
    let ports = if case.flows == Flows::New { world::NEW_CLIENT_PORT } else { world::CLIENT_PORT };
    let from = (world::client(case.family, case.flows == Flows::New), ports);
    let packet = frame(case.protocol, stage, from, (world::vip(case.family), world::port(case)))?;
    let v4 = case.family == Family::V4;
    let transport = ETHERNET + if v4 { 20 } else { 40 };
    let mut bytes = [0; TEMPLATE_BYTES];
    bytes.get_mut(..packet.len()).context("the template is too short for the packet")?.copy_from_slice(&packet);
    Ok(Template {
        bytes,
        length: u32::try_from(packet.len())?,
        flows: case.flows.count(),
        // The last four bytes of the source address.
        address_at: if v4 { 26 } else { 34 },
        port_at: u32::try_from(transport)?,
        check_at: u32::try_from(transport + if case.protocol == proto::TCP { 16 } else { 6 })?,
        ip_check_at: if v4 { 24 } else { 0 },
    })
}

/// UDP datagrams of `flows` flows to a service, for the closed loop over real interfaces.
pub(crate) fn for_loop(flows: u32, to: SocketAddr, our_mac: [u8; 6], its_mac: [u8; 6]) -> Result<Template> {
    let case = Case { forward: forward::NAT, protocol: proto::UDP, family: Family::V4, flows: Flows::One };
    let packet = frame(
        proto::UDP,
        Stage::Established,
        (world::client(Family::V4, flows == 0), world::CLIENT_PORT),
        (to.ip(), to.port()),
    )?;
    let mut template = of(&case, Stage::Established)?;
    template.bytes[..packet.len()].copy_from_slice(&packet);
    template.bytes[..6].copy_from_slice(&its_mac);
    template.bytes[6..12].copy_from_slice(&our_mac);
    template.flows = flows;
    Ok(template)
}

/// A frame of the family's length with correct lengths and checksums.
pub(crate) fn frame(protocol: u8, stage: Stage, from: End, to: End) -> Result<Vec<u8>> {
    let link = PacketBuilder::ethernet2(CLIENT_MAC, OUR_MAC);
    let (ip, family) = match (from.0, to.0) {
        (IpAddr::V4(s), IpAddr::V4(d)) => (link.ipv4(s.octets(), d.octets(), 64), Family::V4),
        (IpAddr::V6(s), IpAddr::V6(d)) => (link.ipv6(s.octets(), d.octets(), 64), Family::V6),
        _ => bail!("both ends of a packet have one family"),
    };
    let mut out = Vec::new();
    let pad = |size: usize| vec![0x61; family.frame().saturating_sub(size)];
    if protocol == proto::TCP {
        let tcp = ip.tcp(from.1, to.1, 1000, 65_000);
        let tcp = match stage {
            Stage::Opening => tcp.syn(),
            Stage::Established => tcp.ack(2000),
            Stage::Answer => tcp.syn().ack(1001),
        };
        // A handshake carries no data: its padding is Ethernet's.
        let payload = if stage == Stage::Established { pad(tcp.size(0)) } else { Vec::new() };
        tcp.write(&mut out, &payload)?;
        out.resize(family.frame(), 0);
    } else {
        let udp = ip.udp(from.1, to.1);
        let payload = pad(udp.size(0));
        udp.write(&mut out, &payload)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_have_their_lengths_and_places() {
        for family in [Family::V4, Family::V6] {
            for protocol in [proto::TCP, proto::UDP] {
                let case = Case { forward: forward::NAT, protocol, family, flows: Flows::One };
                for stage in [Stage::Opening, Stage::Established] {
                    let t = of(&case, stage).expect("a template");
                    assert_eq!(t.length as usize, family.frame());
                    let port = &t.bytes[t.port_at as usize..][..2];
                    assert_eq!(port, world::CLIENT_PORT.to_be_bytes());
                    let octets = match world::client(family, false) {
                        IpAddr::V4(a) => a.octets().to_vec(),
                        IpAddr::V6(a) => a.octets()[12..].to_vec(),
                    };
                    assert_eq!(&t.bytes[t.address_at as usize..][..4], octets);
                    assert_ne!(&t.bytes[t.check_at as usize..][..2], [0, 0]);
                }
            }
        }
    }
}
