//! Choosing a member for a new flow.

use std::net::SocketAddr;

use lb_common::hash;
use lb_common::net::{Addr, Be16};
use lb_model::{Algorithm, Protocol};

use crate::table::{Member, once_each, slots};

/// What a choice may depend on besides the flow itself.
pub trait Surroundings {
    /// The number of the next turn; taking it moves the cursor on.
    fn turn(&self) -> u64;
    /// 32 random bits.
    fn random(&self) -> u32;
    /// Flows that the member holds now.
    fn active(&self, member: u32) -> u64;
}

/// A new flow, as the hashes see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// [`hash::of_flow`].
    pub flow: u32,
    /// [`hash::of_client`].
    pub client: u32,
}

impl Ask {
    #[must_use]
    pub fn new(client: SocketAddr, vip: SocketAddr, protocol: Protocol) -> Self {
        let source = Addr::from(client.ip().to_canonical());
        let service = Addr::from(vip.ip().to_canonical());
        let (from, to) = (Be16::from_host(client.port()), Be16::from_host(vip.port()));
        Self { flow: hash::of_flow(&source, from, &service, to, protocol.number()), client: hash::of_client(&source) }
    }
}

/// A member and the slot that led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    pub slot: u32,
    pub member: u32,
}

/// One pool's choice, complete and immutable.
#[derive(Clone, Debug)]
pub struct Picker {
    algorithm: Algorithm,
    slots: Vec<u32>,
    /// Members that take new flows, for the search of the least loaded.
    candidates: Vec<u32>,
    weights: Vec<u16>,
}

impl Picker {
    #[must_use]
    pub fn new(algorithm: Algorithm, maglev_size: u32, members: &[Member]) -> Self {
        Self {
            algorithm,
            slots: slots(algorithm, members, maglev_size),
            candidates: once_each(members),
            weights: members.iter().map(Member::effective_weight).collect(),
        }
    }

    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Positions of members, as published.
    #[must_use]
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// Members that take new flows, once each.
    #[must_use]
    pub fn candidates(&self) -> &[u32] {
        &self.candidates
    }

    /// The member for a new flow; `None` if no member takes any.
    #[must_use]
    pub fn pick(&self, ask: &Ask, around: &impl Surroundings) -> Option<Pick> {
        let n = u32::try_from(self.slots.len()).ok().filter(|n| *n > 0)?;
        let slot = match self.algorithm {
            Algorithm::Maglev => hash::slot(ask.flow, n),
            Algorithm::SourceHash => hash::slot(ask.client, n),
            Algorithm::Random => hash::slot(around.random(), n),
            Algorithm::RoundRobin | Algorithm::WeightedRoundRobin | Algorithm::LeastConnections => {
                (around.turn() % u64::from(n)) as u32
            }
        };
        let member = *self.slots.get(slot as usize)?;
        match self.algorithm {
            Algorithm::LeastConnections => Some(Pick { slot, member: self.least_loaded(member, around) }),
            _ => Some(Pick { slot, member }),
        }
    }

    /// The member whose turn it is, unless another holds strictly fewer flows for its weight.
    fn least_loaded(&self, first: u32, around: &impl Surroundings) -> u32 {
        let mut best = first;
        let mut load = around.active(first);
        let mut weight = self.weight(first);
        for &member in &self.candidates {
            let (l, w) = (around.active(member), self.weight(member));
            // l / w < load / weight, without division.
            if u128::from(l) * u128::from(weight) < u128::from(load) * u128::from(w) {
                (best, load, weight) = (member, l, w);
            }
        }
        best
    }

    fn weight(&self, member: u32) -> u64 {
        self.weights.get(member as usize).copied().unwrap_or(0).into()
    }
}
