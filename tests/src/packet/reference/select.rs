//! Who may open a flow, which backend takes it, and which port NAT may have claimed for it.

use std::net::IpAddr;

use lb_common::backend::flag;
use lb_common::hash;
use lb_common::net::{Addr, Be16};
use lb_common::reason::Reason;
use lb_common::service::algorithm;

use super::parse::{Packet, Parsed, Tuple, parse};
use super::tcp::State;
use super::{Reference, Seen, Verdict, stop};
use crate::packet::program::action;

impl Reference {
    /// The longest range that holds the client decides.
    pub(super) fn in_ranges(&self, n: u32, client: IpAddr) -> bool {
        let s = self.service(n);
        let holds =
            |r: &&(IpAddr, u8, bool)| r.0.is_ipv4() == client.is_ipv4() && shares(r.0, client) >= u32::from(r.1);
        let longest = s.ranges.iter().filter(holds).max_by_key(|r| r.1);
        s.ranges.is_empty() || longest.map_or(s.otherwise, |r| r.2)
    }

    /// So many flows at once, and in the time of a test no more.
    pub(super) fn in_rate(&mut self, n: u32, client: IpAddr) -> bool {
        let Some((_, burst)) = self.service(n).rate else { return true };
        let admitted = self.admitted.entry((n, client)).or_default();
        if *admitted >= burst {
            return false;
        }
        *admitted += 1;
        true
    }

    pub(super) fn select(&mut self, p: &Packet, n: u32, seen: Seen<'_>) -> Result<Option<u32>, String> {
        let key = (n, p.tuple.src);
        let held = self.affinity.get(&key).copied();
        let affine = self.service(n).affinity.is_some();
        if let (true, Some(backend)) = (affine, held)
            && self.is(backend, flag::ELIGIBLE)
        {
            return Ok(Some(backend));
        }
        let chosen = self.by_algorithm(p, n, seen)?;
        if let (true, Some(backend)) = (affine, chosen) {
            self.affinity.insert(key, backend);
        }
        Ok(chosen)
    }

    fn by_algorithm(&mut self, p: &Packet, n: u32, seen: Seen<'_>) -> Result<Option<u32>, String> {
        let pool = self.service(n).pool as usize - 1;
        let slots = &self.tables[pool];
        if slots.is_empty() {
            return Ok(None);
        }
        let by = |h: u32| slots[hash::slot(h, slots.len() as u32) as usize];
        let t = &p.tuple;
        let (client, vip) = (Addr::from(t.src), Addr::from(t.dst));
        let (from, to) = (Be16::from_host(t.src_port), Be16::from_host(t.dst_port));
        Ok(Some(match self.world.pools[pool].algorithm {
            algorithm::MAGLEV => by(hash::of_flow(&client, from, &vip, to, t.protocol)),
            algorithm::SOURCE_HASH => by(hash::of_client(&client)),
            algorithm::RANDOM => match seen.backend {
                Some(drawn) if slots.contains(&drawn) => drawn,
                Some(drawn) => return Err(format!("random drew backend {drawn}, which is not in the table")),
                // Refused after the draw: by whom is not to be seen, so any will do that explains it.
                None => self.unreachable(slots).unwrap_or(slots[0]),
            },
            kind => {
                let turn = slots[(self.turns[pool] % slots.len() as u64) as usize];
                self.turns[pool] += 1;
                if kind == algorithm::LEAST_CONNECTIONS { self.least(pool, turn) } else { turn }
            }
        }))
    }

    fn unreachable(&self, slots: &[u32]) -> Option<u32> {
        slots.iter().copied().find(|b| !self.is(*b, flag::REACHABLE) || !self.is(*b, flag::EXISTS))
    }

    /// The member with the fewest active flows per weight; the one whose turn it is wins ties, then the first.
    fn least(&self, pool: usize, turn: u32) -> u32 {
        let load = |b: u32| {
            let active = self.active.get(&b).copied().unwrap_or(0);
            (active, u64::from(self.backend(b).weight))
        };
        let fewer = |a: (u64, u64), b: (u64, u64)| a.0 * b.1 < b.0 * a.1;
        self.members[pool].iter().fold(turn, |best, b| if fewer(load(*b), load(best)) { *b } else { best })
    }

    /// The reply tuple that the program's output shows, if it was free to claim it.
    pub(super) fn claimed(&self, p: &Packet, backend: u32, sent: &[u8]) -> Result<Tuple, String> {
        let Parsed::Packet(out) = parse(sent) else { return Err("what was sent cannot be parsed".into()) };
        let reply = out.tuple.reversed();
        let b = self.backend(backend);
        let port = if b.port == 0 { p.tuple.dst_port } else { b.port };
        if (reply.src, reply.src_port, reply.protocol) != (b.ip, port, p.tuple.protocol) {
            return Err(format!(
                "sent to {}:{}, not to backend {backend} at {}:{port}",
                reply.src, reply.src_port, b.ip
            ));
        }
        let (first, count) = self.world.nat_ports;
        if reply.dst_port < first || u32::from(reply.dst_port) >= u32::from(first) + u32::from(count) {
            return Err(format!("port {} is not one of NAT's", reply.dst_port));
        }
        if !self.sources(backend).contains(&reply.dst) {
            return Err(format!("{} is no source address towards backend {backend}", reply.dst));
        }
        match self.replies.get(&reply) {
            // A flow that waits for its backend gives its port up when few are left (and when it has waited for a
            // second, which is not known here).
            Some(t) if self.flows[t].connection.state == State::Fresh && self.is_short(p, backend) => Ok(reply),
            Some(holder) => Err(format!("{reply:?} is held by {holder:?}")),
            None => Ok(reply),
        }
    }

    fn sources(&self, backend: u32) -> &[IpAddr] {
        let (first, count) = self.backend(backend).snat;
        &self.world.snat[usize::from(first)..usize::from(first) + usize::from(count)]
    }

    /// Sixteen tries may all miss when few ports are left, and never when most are free.
    pub(super) fn exhausted(&self, p: &Packet, n: u32, backend: u32) -> Result<Verdict, String> {
        let pool = self.service(n).pool as usize - 1;
        // Which backend `random` drew does not show in a refusal.
        let drawn = self.world.pools[pool].algorithm == algorithm::RANDOM;
        let may_be: &[u32] = if drawn { &self.tables[pool] } else { &[backend] };
        if may_be.iter().any(|b| self.is_short(p, *b)) {
            return Ok(stop(action::DROP, n, Reason::NatExhausted));
        }
        Err(format!("NAT gave up towards one of {may_be:?} with most ports free"))
    }

    /// Half of the ports towards a backend are taken, or more.
    fn is_short(&self, p: &Packet, backend: u32) -> bool {
        self.held_towards(p, backend) * 2 >= usize::from(self.world.nat_ports.1) * self.sources(backend).len()
    }

    fn held_towards(&self, p: &Packet, backend: u32) -> usize {
        let b = self.backend(backend);
        let port = if b.port == 0 { p.tuple.dst_port } else { b.port };
        let of_backend = |t: &&Tuple| (t.src, t.src_port, t.protocol) == (b.ip, port, p.tuple.protocol);
        self.replies.keys().filter(of_backend).filter(|t| self.sources(backend).contains(&t.dst)).count()
    }
}

/// Leading bits that two addresses of one family have in common.
fn shares(a: IpAddr, b: IpAddr) -> u32 {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => 0,
    }
}
