//! One row of the forwarding table: family, protocol and way of forwarding, and its packets as they go in and come out.

use lb_common::net::proto;
use lb_common::service::forward;
use lb_tests::packet::case::{Case, way};
use lb_tests::packet::cast::{BALANCER, FAMILIES, Family, ROUTER, backend_mac};
use lb_tests::packet::layers::Frame;
use lb_tests::packet::world::World;

/// Names for the ports that NAT chooses.
pub(crate) const A: u16 = 1;
pub(crate) const B: u16 = 2;
pub(crate) const C: u16 = 3;

pub(crate) const CLIENT_PORT: u16 = 40_000;
pub(crate) const VIP_PORT: u16 = 80;
/// The backends' port under NAT.
pub(crate) const BACKEND_PORT: u16 = 8080;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) family: Family,
    pub(crate) protocol: u8,
    pub(crate) how: u8,
}

/// All combinations of family and way for a protocol.
pub(crate) fn rows(protocol: u8) -> impl Iterator<Item = Row> {
    let ways = [forward::NAT, forward::DSR];
    FAMILIES.into_iter().flat_map(move |family| ways.into_iter().map(move |how| Row { family, protocol, how }))
}

/// All eight.
pub(crate) fn all() -> impl Iterator<Item = Row> {
    rows(proto::TCP).chain(rows(proto::UDP))
}

/// Those with network address translation.
pub(crate) fn nat() -> impl Iterator<Item = Row> {
    all().filter(|r| r.how == forward::NAT)
}

impl Row {
    pub(crate) fn is_tcp(self) -> bool {
        self.protocol == proto::TCP
    }
    pub(crate) fn is_nat(self) -> bool {
        self.how == forward::NAT
    }
    /// A case of this row on a world of `n` backends.
    pub(crate) fn case(self, what: &str, n: u8) -> Case {
        self.on(what, self.world(n))
    }
    pub(crate) fn on(self, what: &str, world: World) -> Case {
        let protocol = if self.is_tcp() { "tcp" } else { "udp" };
        Case::new(format!("{} {:?} {protocol}: {what}", way(self.how), self.family), world)
    }
    pub(crate) fn world(self, n: u8) -> World {
        World::one(self.family, self.protocol, self.how, n)
    }
    /// Entries that one flow takes.
    pub(crate) fn halves(self) -> usize {
        if self.is_nat() { 2 } else { 1 }
    }

    /// The packet that opens a flow: SYN or datagram.
    pub(crate) fn first(self) -> Frame {
        self.first_from(1, CLIENT_PORT)
    }
    pub(crate) fn first_from(self, client: u8, port: u16) -> Frame {
        let ip = self.family.to_vip().between(self.family.client(client), self.family.vip());
        if self.is_tcp() { ip.tcp(port, VIP_PORT, "S") } else { ip.udp(port, VIP_PORT, b"ask") }
    }
    /// The client's second packet: the handshake's ACK, or another datagram.
    pub(crate) fn next(self) -> Frame {
        self.next_from(1, CLIENT_PORT)
    }
    pub(crate) fn next_from(self, client: u8, port: u16) -> Frame {
        let ip = self.family.to_vip().between(self.family.client(client), self.family.vip());
        if self.is_tcp() { ip.tcp(port, VIP_PORT, "A") } else { ip.udp(port, VIP_PORT, b"ask again") }
    }
    /// The client's packet with these TCP flags.
    pub(crate) fn client_tcp(self, flags: &str) -> Frame {
        self.family.to_vip().tcp(CLIENT_PORT, VIP_PORT, flags)
    }
    /// Backend `n`'s answer to the flow of name `name` (NAT): SYN-ACK or datagram.
    pub(crate) fn answer(self, n: u8, name: u16) -> Frame {
        let ip = self.family.to_snat(n);
        if self.is_tcp() { ip.tcp(BACKEND_PORT, name, "SA") } else { ip.udp(BACKEND_PORT, name, b"answer") }
    }
    /// Backend `n`'s packet with these TCP flags.
    pub(crate) fn backend_tcp(self, n: u8, name: u16, flags: &str) -> Frame {
        self.family.to_snat(n).tcp(BACKEND_PORT, name, flags)
    }

    /// A client's packet as it goes to backend `n`, in the flow of name `name`.
    pub(crate) fn out(self, frame: Frame, n: u8, name: u16) -> Frame {
        let frame = frame.link(BALANCER, backend_mac(u32::from(n)));
        if self.is_nat() {
            frame.between(self.family.snat(1), self.family.backend(n)).ports(name, BACKEND_PORT)
        } else {
            frame
        }
    }
    /// A backend's packet as it goes to client 1.
    pub(crate) fn back(self, frame: Frame) -> Frame {
        frame.link(BALANCER, ROUTER).between(self.family.vip(), self.family.client(1)).ports(VIP_PORT, CLIENT_PORT)
    }
}

/// A flow of client 1 to backend 1 under name [`A`], established; the rest of the story follows.
pub(crate) fn established(row: Row, case: Case) -> Case {
    use lb_common::reason::Reason;
    use lb_tests::packet::case::{forwards, opens, sends};
    let mut case = case.send("the first packet", row.first(), opens(1, 1, row.out(row.first(), 1, A)));
    if row.is_nat() {
        let answer = row.answer(1, A);
        case = case.send("the answer", answer.clone(), sends(1, Reason::Returned, row.back(answer)));
    }
    case.send("the second packet", row.next(), forwards(1, 1, row.out(row.next(), 1, A)))
}
