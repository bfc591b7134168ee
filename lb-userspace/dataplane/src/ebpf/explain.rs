//! `lb explain`: the packet path's decisions about a flow's first packet, read from the same maps, stage by stage. Changes
//! nothing: no turn is taken, no rate used up.

use lb_common::backend::{Backend, flag as backend_flag};
use lb_common::flow::{ClientKey, Flow, FlowKey4, FlowKey6, seen, state};
use lb_common::hash;
use lb_common::net::{Addr, Be16};
use lb_common::pool::TABLE_HEADER;
use lb_common::reason::Reason;
use lb_common::service::{Service, algorithm, flag, forward};
use lb_common::time::age;
use lb_model::Protocol;

use super::census::active;
use super::engine::EbpfPlane;
use super::expiry::Key;
use super::flows::target;
use super::publish::Publisher;
use super::{clock, ranges, tables};
use crate::plane::{Explanation, Probe, Step};

pub(super) fn explain(plane: &EbpfPlane, probe: &Probe) -> Explanation {
    let p = &plane.publisher;
    let mut story = Story::new(p, probe);
    let reason = story.tell();
    story.out.reason = reason;
    story.out.verdict = reason.verdict();
    story.step("verdict", reason.name().into(), reason.help().into());
    story.out
}

struct Story<'a> {
    p: &'a Publisher,
    key: FlowKey6,
    protocol: Protocol,
    out: Explanation,
}

impl<'a> Story<'a> {
    fn new(p: &'a Publisher, probe: &Probe) -> Self {
        let (client, vip) = (probe.ends.client, probe.ends.vip);
        let key = FlowKey6 {
            src: Addr::from(client.ip()),
            dst: Addr::from(vip.ip()),
            src_port: Be16::from_host(client.port()),
            dst_port: Be16::from_host(vip.port()),
            protocol: u32::from(probe.protocol.number()),
        };
        let out = Explanation {
            verdict: Reason::NotOurs.verdict(),
            reason: Reason::NotOurs,
            service: None,
            pool: None,
            slot: None,
            backend: None,
            next_hop: None,
            steps: Vec::new(),
        };
        Self { p, key, protocol: probe.protocol, out }
    }

    fn step(&mut self, stage: &'static str, decision: String, why: String) {
        self.out.steps.push(Step { stage, decision, why });
    }

    fn tell(&mut self) -> Reason {
        let door = (self.key.dst, self.key.dst_port.host(), self.protocol.number());
        let vip = super::flows::socket(self.key.dst, self.key.dst_port);
        let found = self.p.doors.service(&door).and_then(|n| Some((n, *self.p.values.get(n)?)));
        let Some((number, service)) = found else {
            self.step("service", "none".into(), format!("no service listens on {vip}/{}", self.protocol));
            return Reason::NotOurs;
        };
        self.out.service = self.p.books.services.owner(number).cloned();
        self.out.pool = self.p.books.pools.owner(service.pool).cloned();
        let name = self.out.service.as_ref().map_or_else(|| number.to_string(), ToString::to_string);
        self.step("service", name, format!("it listens on {vip}/{}", self.protocol));
        if let Some(reason) = self.known(&service) {
            return reason;
        }
        if let Some(reason) = self.refused(number, &service) {
            return reason;
        }
        let chosen = match self.held(number, &service) {
            Some(backend) => backend,
            None => match self.select(&service) {
                Ok(backend) => backend,
                Err(reason) => return reason,
            },
        };
        self.forward(&service, chosen, None)
    }

    fn find(&self) -> Option<Flow> {
        let m = &self.p.maps;
        if self.key.src.is_v4() {
            let key = FlowKey4::narrow(&self.key);
            return m.flows4.map.get(&key, 0).or_else(|_| m.fresh4.map.get(&key, 0)).ok();
        }
        m.flows6.map.get(&self.key, 0).or_else(|_| m.fresh6.map.get(&self.key, 0)).ok()
    }

    fn backend(&self, number: u32) -> Backend {
        self.p.maps.backends.get(&number, 0).unwrap_or_default()
    }

    /// What a known flow's backend decides; `None`: a new flow begins.
    fn known(&mut self, service: &Service) -> Option<Reason> {
        let Some(flow) = self.find() else {
            self.step("flow", "new".into(), "no flow between these two addresses".into());
            return None;
        };
        let backend = self.backend(flow.backend);
        let stands = format!("{}, held by {}", state::name(flow.state), target(&backend, flow.vip_port));
        let lost = backend.flags & backend_flag::EXPIRED != 0 || backend.flags & backend_flag::EXISTS == 0;
        let down = lost || backend.flags & backend_flag::DOWN != 0;
        let over =
            self.protocol == Protocol::Tcp && (!state::is_active(flow.state) || flow.seen & seen::FIN_CLIENT != 0);
        if down || over {
            let why = if down { "its backend is out of service" } else { "the client has closed it" };
            self.step(
                "flow",
                "anew".into(),
                format!("a flow is known ({stands}), but {why}: a new one takes its place"),
            );
            return None;
        }
        self.step("flow", "known".into(), stands);
        Some(self.forward(service, flow.backend, Some(&flow)))
    }

    fn refused(&mut self, number: u32, service: &Service) -> Option<Reason> {
        let client = std::net::IpAddr::from(self.key.src);
        if let Some(all) = self.p.ranges.get(&number).filter(|_| service.flags & flag::RANGES != 0) {
            let found = ranges::verdict(all, client);
            let ((length, bytes), verdict) = found.unwrap_or(((0, [0; 16]), 1));
            let addr = Addr::from_octets(bytes);
            let by = match length {
                0 => "no range of allow or deny holds it".to_owned(),
                _ if addr.is_v4() => format!("{}/{} decides", std::net::IpAddr::from(addr), length - 96),
                _ => format!("{}/{length} decides", std::net::IpAddr::from(addr)),
            };
            if verdict == 0 {
                self.step("guard", "refuse".into(), format!("{client}: {by}"));
                return Some(Reason::Denied);
            }
            self.step("guard", "let in".into(), format!("{client}: {by}"));
        }
        if service.rate_interval_ns == 0 {
            return None;
        }
        let key = ClientKey { client: self.key.src, service: number };
        let ahead = self.p.maps.rates.get(&key, 0).map_or(0, |tat| tat.saturating_sub(clock::precise()));
        if ahead + service.rate_interval_ns > service.rate_tolerance_ns {
            self.step("guard", "refuse".into(), format!("{client} has used up its rate and burst of new flows"));
            return Some(Reason::RateLimited);
        }
        let left = (service.rate_tolerance_ns - ahead) / service.rate_interval_ns;
        self.step("guard", "let in".into(), format!("{client} may open {left} flows at once"));
        None
    }

    /// The backend that client affinity holds.
    fn held(&mut self, number: u32, service: &Service) -> Option<u32> {
        if service.flags & flag::AFFINITY == 0 {
            return None;
        }
        let key = ClientKey { client: self.key.src, service: number };
        let held = self.p.maps.affinity.map.get(&key, 0).ok();
        let held = held.filter(|h| age(clock::ticks(), h.last_seen) <= service.affinity_timeout);
        match held {
            Some(h) if self.backend(h.backend).flags & backend_flag::ELIGIBLE != 0 => {
                self.step("affinity", "held".into(), "the client's earlier flows went there".into());
                Some(h.backend)
            }
            Some(_) => {
                self.step("affinity", "none".into(), "the backend held takes no new flows".into());
                None
            }
            None => {
                self.step("affinity", "none".into(), "the client has no backend yet".into());
                None
            }
        }
    }

    fn select(&mut self, service: &Service) -> Result<u32, Reason> {
        let table = tables::read(&self.p.maps, service.pool).unwrap_or_default();
        let slots = table.first().copied().unwrap_or(0);
        if slots == 0 {
            self.step("select", "none".into(), "no backend of the pool takes new flows".into());
            return Err(Reason::NoBackend);
        }
        let k = &self.key;
        let turn = || (self.p.maps.cursors.get(&service.pool, 0).unwrap_or(0) % u64::from(slots)) as u32;
        let (slot, how) = match service.algorithm {
            algorithm::MAGLEV => {
                let h = hash::of_flow(&k.src, k.src_port, &k.dst, k.dst_port, self.protocol.number());
                (hash::slot(h, slots), "maglev: by the flow's hash")
            }
            algorithm::SOURCE_HASH => {
                (hash::slot(hash::of_client(&k.src), slots), "source-hash: by the client's address")
            }
            algorithm::RANDOM => {
                self.step("select", "random".into(), format!("any of {slots} slots, by chance"));
                return Err(Reason::Forwarded);
            }
            algorithm::ROUND_ROBIN => (turn(), "round-robin: whose turn is next"),
            algorithm::WEIGHTED_ROUND_ROBIN => (turn(), "weighted-round-robin: whose turn is next"),
            _ => (turn(), "least-connections: the search begins with the next turn"),
        };
        let candidate = table.get((TABLE_HEADER + slot) as usize).copied().unwrap_or(0);
        self.out.slot = Some(slot);
        self.step("select", format!("slot {slot} of {slots}"), how.into());
        if service.algorithm == algorithm::LEAST_CONNECTIONS {
            return Ok(self.least(&table[(TABLE_HEADER + slots) as usize..], candidate));
        }
        Ok(candidate)
    }

    /// The search of `least-connections`: `members` begins with their number.
    fn least(&mut self, members: &[u32], candidate: u32) -> u32 {
        let load = |n: u32| {
            let reaped = self.p.maps.reaped.get(&n, 0).unwrap_or(0);
            let held = self.p.maps.loads.get(&n, 0).map_or(0, |l| active(l, reaped));
            (u64::try_from(held).unwrap_or(0), u64::from(self.backend(n).weight))
        };
        let mut best = (candidate, load(candidate));
        for n in members.iter().skip(1) {
            let (held, weight) = load(*n);
            if held * best.1.1 < best.1.0 * weight {
                best = (*n, (held, weight));
            }
        }
        let why = format!("{} active flows for a weight of {}, the fewest", best.1.0, best.1.1);
        self.step("select", if best.0 == candidate { "stays" } else { "another" }.into(), why);
        best.0
    }

    fn forward(&mut self, service: &Service, number: u32, flow: Option<&Flow>) -> Reason {
        let backend = self.backend(number);
        if number == 0 || backend.flags & backend_flag::EXISTS == 0 {
            return Reason::NoBackend;
        }
        let to = target(&backend, self.key.dst_port);
        self.out.backend = Some(to);
        let hop = self.p.hop(to.ip());
        if backend.flags & backend_flag::REACHABLE == 0 {
            let why = hop.and_then(|h| h.trouble.clone()).unwrap_or_else(|| "its next hop is not known yet".into());
            self.step("next hop", "none".into(), why);
            return Reason::NoNeighbour;
        }
        if service.forward == forward::NAT {
            let from = match flow {
                Some(f) => super::flows::socket(f.peer, f.peer_port).to_string(),
                None if backend.snat_count == 0 => {
                    self.step("forward", "none".into(), "the host has no source address towards the backend".into());
                    return Reason::NatExhausted;
                }
                None => "a source address and port of ours".to_owned(),
            };
            self.step("forward", "nat".into(), format!("sent from {from} to {to}"));
        } else {
            self.step("forward", "dsr".into(), format!("sent on unchanged to {to}, which answers the client itself"));
        }
        let mac: Vec<String> = backend.dst_mac.iter().map(|b| format!("{b:02x}")).collect();
        let via = hop.and_then(|h| h.neighbour).filter(|n| *n != to.ip()).map_or(String::new(), |n| format!(" ({n})"));
        let over = hop.map_or_else(|| format!("interface {}", backend.ifindex), |h| h.interface.clone());
        let text = format!("{}{via} over {over}", mac.join(":"));
        self.step("next hop", text.clone(), "by the kernel's route and neighbour".into());
        self.out.next_hop = Some(text);
        Reason::Forwarded
    }
}
