//! rtnetlink: links, routes and neighbours asked for, neighbours kept resolved, and word of their changes.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage, LinkXdp};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    pub index: u32,
    pub name: String,
    /// Of Ethernet's kind, with a MAC of six bytes.
    pub mac: Option<[u8; 6]>,
    pub mtu: u32,
    pub up: bool,
    /// Numbers of the XDP programs on it: native and generic.
    pub xdp_native: Option<u32>,
    pub xdp_generic: Option<u32>,
}

/// The way to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The address belongs to this host.
    pub local: bool,
    pub ifindex: u32,
    /// `None`: on the link.
    pub gateway: Option<IpAddr>,
    /// The source address that the host would take.
    pub source: Option<IpAddr>,
    pub mtu: Option<u32>,
}

/// An entry of the neighbour table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    pub ifindex: u32,
    pub ip: IpAddr,
    /// Known and not given up on.
    pub mac: Option<[u8; 6]>,
    /// Entered by hand; not ours to touch.
    pub permanent: bool,
    pub gone: bool,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Links, addresses or routes: look again.
    Paths,
    Neighbour(Neighbour),
}

#[derive(Debug)]
struct Wire(Socket);

/// A socket for questions.
#[derive(Debug)]
pub struct Netlink {
    wire: Wire,
    sequence: u32,
}

/// A socket that hears of changes.
#[derive(Debug)]
pub struct Events {
    wire: Wire,
}

impl Netlink {
    /// # Errors
    /// If the kernel gives no socket.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { wire: Wire(socket), sequence: 0 })
    }

    fn ask(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.wire.0.send(&bytes, 0)?;
        let mut out = Vec::new();
        // A dump ends with DONE, a change with its acknowledgement, a question with the first answer.
        let one = flags & (NLM_F_DUMP | NLM_F_ACK) == 0;
        loop {
            for (sequence, payload) in self.wire.receive()? {
                if sequence != self.sequence {
                    continue;
                }
                match payload {
                    NetlinkPayload::InnerMessage(m) => out.push(m),
                    NetlinkPayload::Done(_) => return Ok(out),
                    NetlinkPayload::Error(e) if e.code.is_some() => return Err(e.to_io()),
                    NetlinkPayload::Error(_) => return Ok(out),
                    _ => {}
                }
            }
            if one && !out.is_empty() {
                return Ok(out);
            }
        }
    }

    /// All interfaces of this network namespace.
    ///
    /// # Errors
    /// As netlink gives them.
    pub fn links(&mut self) -> io::Result<Vec<LinkState>> {
        let answers = self.ask(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP)?;
        let links = answers.iter().filter_map(|m| match m {
            RouteNetlinkMessage::NewLink(l) => Some(link(l)),
            _ => None,
        });
        Ok(links.collect())
    }

    /// How this host would reach `to`.
    ///
    /// # Errors
    /// `ENETUNREACH` and the like if it would not.
    pub fn route(&mut self, to: IpAddr) -> io::Result<Route> {
        let mut m = RouteMessage::default();
        m.header.address_family = family(to);
        m.header.destination_prefix_length = if to.is_ipv4() { 32 } else { 128 };
        m.attributes.push(RouteAttribute::Destination(to.into()));
        let answers = self.ask(RouteNetlinkMessage::GetRoute(m), 0)?;
        let found = answers.iter().find_map(|m| match m {
            RouteNetlinkMessage::NewRoute(r) => Some(r),
            _ => None,
        });
        found.map(route).ok_or_else(|| io::Error::from_raw_os_error(libc::ENETUNREACH))
    }

    /// The whole neighbour table, both families.
    ///
    /// # Errors
    /// As netlink gives them.
    pub fn neighbours(&mut self) -> io::Result<Vec<Neighbour>> {
        let answers = self.ask(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()), NLM_F_DUMP)?;
        let all = answers.iter().filter_map(|m| match m {
            RouteNetlinkMessage::NewNeighbour(n) => neighbour(n, false),
            _ => None,
        });
        Ok(all.collect())
    }

    /// Asks the kernel to resolve a neighbour: `managed`, to keep it resolved from now on (5.16), else once.
    ///
    /// # Errors
    /// `EINVAL` where the kernel knows no managed neighbours.
    pub fn resolve(&mut self, ifindex: u32, ip: IpAddr, managed: bool) -> io::Result<()> {
        let mut m = NeighbourMessage::default();
        m.header.family = family(ip);
        m.header.ifindex = ifindex;
        m.header.state = NeighbourState::None;
        let destination = match ip {
            IpAddr::V4(a) => NeighbourAddress::Inet(a),
            IpAddr::V6(a) => NeighbourAddress::Inet6(a),
        };
        m.attributes.push(NeighbourAttribute::Destination(destination));
        if managed {
            m.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
        } else {
            m.header.flags = NeighbourFlags::Use;
        }
        let flags = NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK;
        self.ask(RouteNetlinkMessage::NewNeighbour(m), flags).map(drop)
    }
}

impl Events {
    /// # Errors
    /// If the kernel gives no socket or refuses a group.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        let groups = [
            libc::RTNLGRP_LINK,
            libc::RTNLGRP_NEIGH,
            libc::RTNLGRP_IPV4_IFADDR,
            libc::RTNLGRP_IPV6_IFADDR,
            libc::RTNLGRP_IPV4_ROUTE,
            libc::RTNLGRP_IPV6_ROUTE,
        ];
        for group in groups {
            socket.add_membership(group)?;
        }
        socket.set_non_blocking(true)?;
        Ok(Self { wire: Wire(socket) })
    }

    /// What has come in, at most a few hundred messages; never waits. A lost message counts as [`Event::Paths`].
    pub fn drain(&mut self) -> Vec<Event> {
        let mut out = Vec::new();
        for _ in 0..64 {
            match self.wire.receive() {
                Ok(messages) => out.extend(messages.into_iter().filter_map(|(_, p)| event(p))),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => out.push(Event::Paths),
                Err(_) => break,
            }
        }
        out
    }

    /// Waits until something comes in, `millis` at most.
    pub fn wait(&self, millis: i32) {
        let mut fd = libc::pollfd { fd: self.wire.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd, which outlives the call.
        unsafe { libc::poll(&raw mut fd, 1, millis) };
    }
}

type Payload = NetlinkPayload<RouteNetlinkMessage>;

impl Wire {
    /// One datagram's messages with their sequence numbers. A message that the library cannot read is left out.
    fn receive(&self) -> io::Result<Vec<(u32, Payload)>> {
        let (bytes, _) = self.0.recv_from_full()?;
        let mut out = Vec::new();
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|r| r.len() >= 16) {
            let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            let Some(one) = rest.get(..length).filter(|_| length >= 16) else {
                break;
            };
            match NetlinkMessage::<RouteNetlinkMessage>::deserialize(one) {
                Ok(m) => out.push((m.header.sequence_number, m.payload)),
                Err(e) => tracing::debug!(error = %e, "unreadable netlink message"),
            }
            at += length.next_multiple_of(4);
        }
        Ok(out)
    }
}

fn event(payload: Payload) -> Option<Event> {
    let NetlinkPayload::InnerMessage(message) = payload else {
        return None;
    };
    match message {
        RouteNetlinkMessage::NewNeighbour(n) => neighbour(&n, false).map(Event::Neighbour),
        RouteNetlinkMessage::DelNeighbour(n) => neighbour(&n, true).map(Event::Neighbour),
        _ => Some(Event::Paths),
    }
}

fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn mac(bytes: &[u8]) -> Option<[u8; 6]> {
    bytes.try_into().ok().filter(|m| *m != [0; 6])
}

fn link(m: &LinkMessage) -> LinkState {
    let ethernet = m.header.link_layer_type == LinkLayerType::Ether;
    let mut out = LinkState {
        index: m.header.index,
        name: String::new(),
        mac: None,
        mtu: 1500,
        up: m.header.flags.contains(LinkFlags::Up),
        xdp_native: None,
        xdp_generic: None,
    };
    for a in &m.attributes {
        match a {
            LinkAttribute::IfName(n) => out.name.clone_from(n),
            LinkAttribute::Mtu(v) => out.mtu = *v,
            LinkAttribute::Address(b) if ethernet => out.mac = mac(b),
            LinkAttribute::Xdp(programs) => {
                for p in programs {
                    match p {
                        LinkXdp::SkbProgId(n) => out.xdp_generic = Some(*n),
                        LinkXdp::DrvProgId(n) | LinkXdp::HwProgId(n) => out.xdp_native = Some(*n),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    out
}

fn route(m: &RouteMessage) -> Route {
    let ip = |a: &RouteAddress| match a {
        RouteAddress::Inet(a) => Some(IpAddr::V4(*a)),
        RouteAddress::Inet6(a) => Some(IpAddr::V6(*a)),
        _ => None,
    };
    let mut out =
        Route { local: m.header.kind == RouteType::Local, ifindex: 0, gateway: None, source: None, mtu: None };
    for a in &m.attributes {
        match a {
            RouteAttribute::Oif(i) => out.ifindex = *i,
            RouteAttribute::Gateway(a) => out.gateway = ip(a),
            RouteAttribute::Via(RouteVia::Inet(a)) => out.gateway = Some(IpAddr::V4(*a)),
            RouteAttribute::Via(RouteVia::Inet6(a)) => out.gateway = Some(IpAddr::V6(*a)),
            RouteAttribute::PrefSource(a) => out.source = ip(a),
            RouteAttribute::Metrics(metrics) => {
                let mtu = metrics.iter().find_map(|m| if let RouteMetric::Mtu(v) = m { Some(*v) } else { None });
                out.mtu = mtu.filter(|v| *v > 0);
            }
            _ => {}
        }
    }
    out
}

fn neighbour(m: &NeighbourMessage, gone: bool) -> Option<Neighbour> {
    let ip = m.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => Some(IpAddr::V4(*a)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(a)) => Some(IpAddr::V6(*a)),
        _ => None,
    })?;
    let address = m.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::LinkLayerAddress(b) => mac(b),
        _ => None,
    });
    let usable = !gone
        && matches!(
            m.header.state,
            NeighbourState::Reachable
                | NeighbourState::Stale
                | NeighbourState::Delay
                | NeighbourState::Probe
                | NeighbourState::Permanent
                | NeighbourState::Noarp
        );
    Some(Neighbour {
        ifindex: m.header.ifindex,
        ip,
        mac: address.filter(|_| usable),
        permanent: m.header.state == NeighbourState::Permanent,
        gone,
    })
}
