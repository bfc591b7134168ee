//! The balancer once more, in plain Rust: hash maps, slices, checksums computed anew. Written from the design of the
//! packet path, to be compared with the program packet by packet.
//!
//! Two choices are the program's own: the port that NAT claims, and what `random` draws. They are taken from what it did
//! and checked for being allowed. Time does not pass here: nothing ages, and a rate is a burst that is not refilled.

mod answers;
pub mod parse;
pub mod rewrite;
mod select;
pub mod tcp;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use lb_common::backend::flag;
use lb_common::net::proto;
use lb_common::reason::Reason;
use lb_common::service::{algorithm, forward};

use super::cast::HERE;
use super::compare::Moved;
use super::layers::Mac;
use super::program::action;
use super::world::World;
use parse::{Packet, Parsed, Tuple};
use tcp::{Connection, Side, State};

/// One flow, both directions.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub service: u32,
    pub backend: u32,
    /// As the client sends.
    pub tuple: Tuple,
    /// NAT: as the backend answers.
    pub reply: Option<Tuple>,
    pub client: Mac,
    pub connection: Connection,
    /// Counted as active on its backend.
    pub counted: bool,
}

#[derive(Debug)]
pub struct Reference {
    pub world: World,
    pub flows: BTreeMap<Tuple, Flow>,
    /// From a backend's answer to its flow.
    pub replies: BTreeMap<Tuple, Tuple>,
    /// Published slots, by pool.
    tables: Vec<Vec<u32>>,
    members: Vec<Vec<u32>>,
    turns: Vec<u64>,
    active: HashMap<u32, u64>,
    affinity: HashMap<(u32, IpAddr), u32>,
    admitted: HashMap<(u32, IpAddr), u64>,
}

/// What the program did, for the choices that are its own.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub frame: &'a [u8],
    /// The backend whose counters moved.
    pub backend: Option<u32>,
    /// It said that no port was free.
    pub exhausted: bool,
}

/// What must come of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predicted {
    pub action: u32,
    pub frame: Vec<u8>,
    pub moved: Moved,
}

/// A verdict on the way: action, service, reason, and the backend and newness of what is counted as traffic.
struct Verdict {
    action: u32,
    service: u32,
    reason: Reason,
    to: Option<(u32, bool)>,
}

const fn stop(action: u32, service: u32, reason: Reason) -> Verdict {
    Verdict { action, service, reason, to: None }
}

const fn not_ours() -> Verdict {
    stop(action::PASS, 0, Reason::NotOurs)
}

impl Reference {
    #[must_use]
    pub fn new(world: &World) -> Self {
        let mut new = Self {
            world: world.clone(),
            flows: BTreeMap::new(),
            replies: BTreeMap::new(),
            tables: Vec::new(),
            members: Vec::new(),
            turns: vec![0; world.pools.len()],
            active: HashMap::new(),
            affinity: HashMap::new(),
            admitted: HashMap::new(),
        };
        new.publish();
        new
    }

    /// Takes the world's present state as published.
    pub fn publish(&mut self) {
        let pools = 1..=self.world.pools.len() as u32;
        self.tables = pools.clone().map(|n| self.world.slots(n)).collect();
        self.members = pools.map(|n| self.world.eligible(n)).collect();
    }

    /// One packet.
    ///
    /// # Errors
    /// If the program chose what it was not free to choose.
    pub fn packet(&mut self, frame: &[u8], seen: Seen<'_>) -> Result<Predicted, String> {
        let mut out = frame.to_vec();
        let (verdict, bytes) = match parse::parse(frame) {
            Parsed::NotIp => (not_ours(), 0),
            Parsed::Bad(dst, reason) if self.is_vip(dst) => (stop(action::DROP, 0, reason), 0),
            Parsed::Bad(..) => (not_ours(), 0),
            Parsed::Packet(p) => (self.known_protocol(&p, &mut out, seen)?, (p.end - p.net) as u64),
        };
        if matches!(verdict.action, action::DROP | action::PASS) {
            out = frame.to_vec();
        }
        let mut moved = Moved::default();
        moved.verdicts.insert((verdict.service, verdict.reason), 1);
        if let Some((backend, new)) = verdict.to {
            moved.services.insert(verdict.service, (1, bytes, u64::from(new)));
            moved.backends.insert(backend, (1, bytes, u64::from(new)));
        }
        Ok(Predicted { action: verdict.action, frame: out, moved })
    }

    fn known_protocol(&mut self, p: &Packet, out: &mut Vec<u8>, seen: Seen<'_>) -> Result<Verdict, String> {
        if ![proto::TCP, proto::UDP].contains(&p.tuple.protocol) {
            return Ok(self.icmp(p, out));
        }
        match self.service_of(&p.tuple) {
            Some(service) => self.client_speaks(p, service, out, seen),
            None => Ok(self.backend_speaks(p, out)),
        }
    }

    fn is_vip(&self, ip: IpAddr) -> bool {
        self.world.services.iter().any(|s| s.vip == ip)
    }

    fn service_of(&self, t: &Tuple) -> Option<u32> {
        let listens = |s: &&super::world::Service| {
            s.vip == t.dst && s.protocol == t.protocol && (s.ports.0..=s.ports.1).contains(&t.dst_port)
        };
        let at = self.world.services.iter().position(|s| listens(&s))?;
        Some(at as u32 + 1)
    }

    fn service(&self, n: u32) -> &super::world::Service {
        &self.world.services[n as usize - 1]
    }

    fn backend(&self, n: u32) -> &super::world::Backend {
        &self.world.backends[n as usize - 1]
    }

    fn is(&self, backend: u32, bit: u32) -> bool {
        self.backend(backend).flags & bit != 0
    }

    fn is_lost(&self, backend: u32) -> bool {
        self.is(backend, flag::EXPIRED) || !self.is(backend, flag::EXISTS)
    }

    fn client_speaks(&mut self, p: &Packet, n: u32, out: &mut Vec<u8>, seen: Seen<'_>) -> Result<Verdict, String> {
        let Some(flow) = self.flows.get(&p.tuple).copied() else { return self.open(p, n, out, seen) };
        let lost = self.is_lost(flow.backend);
        let down = lost || self.is(flow.backend, flag::DOWN);
        let anew = if p.tuple.protocol == proto::UDP {
            down
        } else {
            tcp::opens(p.flags) && (down || flow.connection.is_over())
        };
        if anew {
            self.forget(&flow);
            return self.open(p, n, out, seen);
        }
        if lost {
            return Ok(self.reset(p, &flow, out));
        }
        self.advance(p, Side::Client);
        Ok(self.forward(p, &flow, out, false))
    }

    fn backend_speaks(&mut self, p: &Packet, out: &mut Vec<u8>) -> Verdict {
        let Some(flow) = self.replies.get(&p.tuple).map(|t| self.flows[t]) else { return not_ours() };
        if p.tuple.protocol == proto::TCP && self.is_lost(flow.backend) {
            return self.reset(p, &flow, out);
        }
        self.advance(p, Side::Backend);
        let service = self.service(flow.service);
        if p.tuple.protocol == proto::TCP && service.mss != 0 && p.flags & parse::flag::SYN != 0 {
            rewrite::clamp(out, p, service.mss);
        }
        rewrite::ends(out, p, &flow.tuple.reversed());
        self.to_client(out, &flow);
        stop(action::TX, flow.service, Reason::Returned)
    }

    /// Follows a flow by one packet, and counts it on its backend when it becomes or stops being active.
    fn advance(&mut self, p: &Packet, from: Side) {
        let key = if from == Side::Client { p.tuple } else { self.replies[&p.tuple] };
        let flow = self.flows.get_mut(&key).expect("just looked up");
        let one_sided = flow.reply.is_none();
        let before = flow.connection.state;
        if p.tuple.protocol == proto::TCP {
            flow.connection.segment(from, p.flags, one_sided);
        } else if from == Side::Client {
            // Whoever speaks twice means it.
            flow.connection.state = State::Established;
        }
        let now = flow.connection.state;
        let active = self.active.entry(flow.backend).or_default();
        if from == Side::Client && before < State::Established && (State::Established..State::Closed).contains(&now) {
            flow.counted = true;
            *active += 1;
        }
        if flow.counted && !flow.connection.is_active() {
            flow.counted = false;
            *active -= 1;
        }
    }

    fn forget(&mut self, flow: &Flow) {
        self.flows.remove(&flow.tuple);
        if let Some(reply) = flow.reply {
            self.replies.remove(&reply);
        }
        if flow.counted {
            *self.active.entry(flow.backend).or_default() -= 1;
        }
    }

    /// Is this TCP packet in mid-stream one that any balancer would send to the same backend, unchanged?
    fn may_join(&self, p: &Packet, n: u32) -> bool {
        let s = self.service(n);
        let consistent =
            [algorithm::MAGLEV, algorithm::SOURCE_HASH].contains(&self.world.pools[s.pool as usize - 1].algorithm);
        s.forward != forward::NAT && consistent && p.flags & (parse::flag::SYN | parse::flag::RST) == 0
    }

    fn open(&mut self, p: &Packet, n: u32, out: &mut [u8], seen: Seen<'_>) -> Result<Verdict, String> {
        let opens = p.tuple.protocol == proto::UDP || tcp::opens(p.flags);
        let refuse = |reason| Ok(stop(action::DROP, n, reason));
        if !opens && !self.may_join(p, n) {
            return refuse(Reason::NoFlow);
        }
        if !self.in_ranges(n, p.tuple.src) {
            return refuse(Reason::Denied);
        }
        if !self.in_rate(n, p.tuple.src) {
            return refuse(Reason::RateLimited);
        }
        let Some(backend) = self.select(p, n, seen)? else { return refuse(Reason::NoBackend) };
        if !self.is(backend, flag::EXISTS) {
            return refuse(Reason::NoBackend);
        }
        if !self.is(backend, flag::REACHABLE) {
            return refuse(Reason::NoNeighbour);
        }
        let reply = if self.service(n).forward == forward::NAT {
            if seen.exhausted {
                return self.exhausted(p, n, backend);
            }
            Some(self.claimed(p, backend, seen.frame)?)
        } else {
            None
        };
        let state = if opens { State::Fresh } else { State::Established };
        let flow = Flow {
            service: n,
            backend,
            tuple: p.tuple,
            reply,
            client: out[6..12].try_into().expect("six bytes"),
            connection: Connection { state, client_done: false, backend_done: false },
            counted: false,
        };
        if let Some(reply) = reply {
            if let Some(holder) = self.replies.get(&reply).map(|t| self.flows[t]) {
                self.forget(&holder);
            }
            self.replies.insert(reply, p.tuple);
        }
        self.flows.insert(p.tuple, flow);
        Ok(self.forward(p, &flow, out, true))
    }

    /// Sends a client's packet to its backend.
    fn forward(&self, p: &Packet, flow: &Flow, out: &mut [u8], new: bool) -> Verdict {
        if !self.is(flow.backend, flag::REACHABLE) {
            return stop(action::DROP, flow.service, Reason::NoNeighbour);
        }
        let service = self.service(flow.service);
        if p.tuple.protocol == proto::TCP && service.mss != 0 && p.flags & parse::flag::SYN != 0 {
            rewrite::clamp(out, p, service.mss);
        }
        if let Some(reply) = flow.reply {
            rewrite::ends(out, p, &reply.reversed());
        }
        let action = self.to_backend(out, flow.backend);
        Verdict { action, service: flow.service, reason: Reason::Forwarded, to: Some((flow.backend, new)) }
    }

    fn to_backend(&self, out: &mut [u8], backend: u32) -> u32 {
        let b = self.backend(backend);
        rewrite::link(out, b.our_mac, b.mac);
        if b.ifindex == HERE { action::TX } else { action::REDIRECT }
    }

    /// All clients of the test are on the interface that packets come in on.
    fn to_client(&self, out: &mut [u8], flow: &Flow) {
        let ours = out[..6].try_into().expect("six bytes");
        rewrite::link(out, ours, flow.client);
    }
}
